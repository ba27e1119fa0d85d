;; a sum, by helpers
;; start: fld1            d9 e8
;; fadd qword [0x200000]  dc 04 25 00 00 20 00
;; fstp qword [0x200008]  dd 1c 25 08 00 20 00
;; jmp start              eb ee
(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i32 i64 i32 i32)))
  (type (;2;) (func (param i32 i64 i32 i32) (result i32)))
  (type (;3;) (func (param i64 i32) (result i64 i32 i32)))
  (type (;4;) (func (param i32 i32) (result i64 i32)))
  (type (;5;) (func (param i32) (result i32)))
  (import "env" "memory" (memory (;0;) 1 65536 shared))
  (import "env" "x87.push" (func (;0;) (type 1)))
  (import "env" "plain_load" (func (;1;) (type 2)))
  (import "env" "float.convert64to80" (func (;2;) (type 3)))
  (import "env" "x87.addMemory" (func (;3;) (type 1)))
  (import "env" "x87.store64" (func (;4;) (type 4)))
  (import "env" "plain_store" (func (;5;) (type 2)))
  (import "env" "find_region" (func (;6;) (type 5)))
  (import "env" "regions" (table (;0;) 32768 32768 funcref))
  (import "env" "outline" (table (;1;) 0 funcref))
  (func (;7;) (type 0) (param i32 i32) (result i32)
    (local i64 i64 i64 i32 i32 i32 i64 i64 i32 i32 i32 i32 i64 i32 i64 i32 i32 i32)
    (if  ;; label = @1
      (i32.or
        (i32.load offset=$attention align=1
          (i32.const 16777216))
        (i32.lt_s
          (local.get 0)
          (i32.const 4)))
      (then
        (if  ;; label = @2
          (i32.load offset=$attention align=1
            (i32.const 16777216))
          (then
            (i64.store offset=$regionExits[1] align=1
              (i32.const 16777216)
              (i64.add
                (i64.load offset=$regionExits[1] align=1
                  (i32.const 16777216))
                (i64.const 1)))
            (return
              (i32.or
                (local.get 0)
                (i32.const 1073741824)))))
        (i64.store offset=$regionExits[0] align=1
          (i32.const 16777216)
          (i64.add
            (i64.load offset=$regionExits[0] align=1
              (i32.const 16777216))
            (i64.const 1)))
        (return
          (i32.xor
            (local.get 0)
            (i32.const -1)))))
    (local.set 2
      (i64.sub
        (i64.load offset=$rip align=1
          (i32.const 16777216))
        (i64.const 0)))
    (local.set 7
      (i32.shl
        (i32.load offset=$tlbContext align=1
          (i32.const 16777216))
        (i32.const 15)))
    (block  ;; label = @1
      (block  ;; label = @2
        (block  ;; label = @3
          (loop  ;; label = @4
            (local.set 4
              (i64.load offset=$cr0 align=1
                (i32.const 16777216)))
            (local.set 5
              (i32.const 0))
            (br_if 1 (;@3;)
              (i32.ne
                (i32.and
                  (i32.wrap_i64
                    (local.get 4))
                  (i32.const 12))
                (i32.const 0)))
            (local.set 6
              (i32.load offset=$fsw align=1
                (i32.const 16777216)))
            (local.set 4
              (i64.load offset=$cr0 align=1
                (i32.const 16777216)))
            (local.set 5
              (i32.const 0))
            (br_if 1 (;@3;)
              (i32.and
                (i32.ne
                  (i32.and
                    (local.get 6)
                    (i32.const 128))
                  (i32.const 0))
                (i32.ne
                  (i32.and
                    (i32.wrap_i64
                      (local.get 4))
                    (i32.const 32))
                  (i32.const 0))))
            (i64.store offset=$fip align=1
              (i32.const 16777216)
              (i64.add
                (local.get 2)
                (i64.const 0)))
            (call 0
              (i32.const 16777216)
              (i64.const -9223372036854775808)
              (i32.const 16383)
              (i32.const 0))
            (local.set 8
              (i64.const 2097152))
            (local.set 6
              (i32.load offset=$fsw align=1
                (i32.const 16777216)))
            (local.set 4
              (i64.load offset=$cr0 align=1
                (i32.const 16777216)))
            (local.set 5
              (i32.const 513))
            (br_if 1 (;@3;)
              (i32.and
                (i32.ne
                  (i32.and
                    (local.get 6)
                    (i32.const 128))
                  (i32.const 0))
                (i32.ne
                  (i32.and
                    (i32.wrap_i64
                      (local.get 4))
                    (i32.const 32))
                  (i32.const 0))))
            (local.set 10
              (i32.add
                (local.get 7)
                (i32.and
                  (i32.shr_u
                    (i32.wrap_i64
                      (local.tee 9
                        (local.get 8)))
                    (i32.const 8))
                  (i32.const 16368))))
            (local.set 4
              (i64.load align=1
                (local.tee 6
                  (if (result i32)  ;; label = @5
                    (i64.gt_u
                      (i64.sub
                        (i64.load offset=16842752 align=1
                          (local.get 10))
                        (local.get 9))
                      (i64.const -4090))
                    (then
                      (i32.add
                        (i32.wrap_i64
                          (local.get 9))
                        (i32.load offset=16842760 align=1
                          (local.get 10))))
                    (else
                      (local.set 5
                        (i32.const 513))
                      (br_if 2 (;@3;)
                        (i32.eqz
                          (local.tee 11
                            (call 1
                              (i32.const 16777216)
                              (local.get 9)
                              (i32.const 8)
                              (i32.const 0)))))
                      (local.get 11))))))
            (local.set 12
              (i32.const 0))
            (local.set 6
              (i32.and
                (i32.wrap_i64
                  (i64.shr_u
                    (local.get 4)
                    (i64.const 52)))
                (i32.const 2047)))
            (local.set 13
              (i32.and
                (i32.wrap_i64
                  (i64.shr_u
                    (local.get 4)
                    (i64.const 48)))
                (i32.const 32768)))
            (if  ;; label = @5
              (i32.lt_u
                (i32.sub
                  (local.get 6)
                  (i32.const 1))
                (i32.const 2046))
              (then
                (local.set 14
                  (i64.or
                    (i64.shl
                      (local.get 4)
                      (i64.const 11))
                    (i64.const -9223372036854775808)))
                (local.set 15
                  (i32.or
                    (local.get 13)
                    (i32.add
                      (local.get 6)
                      (i32.const 15360)))))
              (else
                (if  ;; label = @6
                  (i64.eqz
                    (i64.shl
                      (local.get 4)
                      (i64.const 1)))
                  (then
                    (local.set 14
                      (i64.const 0))
                    (local.set 15
                      (local.get 13)))
                  (else
                    (call 2
                      (local.get 4)
                      (i32.const 8064))
                    (local.set 13)
                    (local.set 6)
                    (local.set 14
                      (local.tee 16))
                    (local.set 15
                      (local.get 6))
                    (local.set 12
                      (local.get 13))))))
            (local.set 16
              (local.get 14))
            (local.set 13
              (local.get 15))
            (local.set 6
              (local.get 12))
            (i64.store offset=$fip align=1
              (i32.const 16777216)
              (i64.add
                (local.get 2)
                (i64.const 2)))
            (i64.store offset=$fdp align=1
              (i32.const 16777216)
              (local.get 8))
            (call 3
              (i32.const 16777216)
              (local.get 16)
              (local.get 13)
              (local.get 6))
            (local.set 8
              (i64.const 2097160))
            (local.set 6
              (i32.load offset=$fsw align=1
                (i32.const 16777216)))
            (local.set 4
              (i64.load offset=$cr0 align=1
                (i32.const 16777216)))
            (local.set 5
              (i32.const 2306))
            (br_if 1 (;@3;)
              (i32.and
                (i32.ne
                  (i32.and
                    (local.get 6)
                    (i32.const 128))
                  (i32.const 0))
                (i32.ne
                  (i32.and
                    (i32.wrap_i64
                      (local.get 4))
                    (i32.const 32))
                  (i32.const 0))))
            (local.set 12
              (i32.load offset=$fsw align=1
                (i32.const 16777216)))
            (local.set 13
              (i32.load offset=$ftop align=1
                (i32.const 16777216)))
            (local.set 15
              (i32.load offset=$ftw align=1
                (i32.const 16777216)))
            (call 4
              (i32.const 16777216)
              (i32.const 1))
            (local.set 6)
            (local.set 4)
            (if  ;; label = @5
              (local.get 6)
              (then
                (local.set 17
                  (i32.load offset=$fsw align=1
                    (i32.const 16777216)))
                (local.set 18
                  (i32.load offset=$ftop align=1
                    (i32.const 16777216)))
                (local.set 19
                  (i32.load offset=$ftw align=1
                    (i32.const 16777216)))
                (i32.store offset=$fsw align=1
                  (i32.const 16777216)
                  (local.get 12))
                (i32.store offset=$ftop align=1
                  (i32.const 16777216)
                  (local.get 13))
                (i32.store offset=$ftw align=1
                  (i32.const 16777216)
                  (local.get 15))
                (local.set 10
                  (i32.add
                    (local.get 7)
                    (i32.and
                      (i32.shr_u
                        (i32.wrap_i64
                          (local.tee 9
                            (local.get 8)))
                        (i32.const 8))
                      (i32.const 16368))))
                (local.set 6
                  (if (result i32)  ;; label = @6
                    (i64.gt_u
                      (i64.sub
                        (i64.load offset=16859136 align=1
                          (local.get 10))
                        (local.get 9))
                      (i64.const -4090))
                    (then
                      (i32.add
                        (i32.wrap_i64
                          (local.get 9))
                        (i32.load offset=16859144 align=1
                          (local.get 10))))
                    (else
                      (local.set 5
                        (i32.const 2306))
                      (br_if 3 (;@3;)
                        (i32.eqz
                          (local.tee 11
                            (call 5
                              (i32.const 16777216)
                              (local.get 9)
                              (i32.const 8)
                              (i32.const 0)))))
                      (local.get 11))))
                (i32.store offset=$fsw align=1
                  (i32.const 16777216)
                  (local.get 17))
                (i32.store offset=$ftop align=1
                  (i32.const 16777216)
                  (local.get 18))
                (i32.store offset=$ftw align=1
                  (i32.const 16777216)
                  (local.get 19))
                (i64.store align=1
                  (local.get 6)
                  (local.get 4))))
            (i64.store offset=$fip align=1
              (i32.const 16777216)
              (i64.add
                (local.get 2)
                (i64.const 9)))
            (i64.store offset=$fdp align=1
              (i32.const 16777216)
              (local.get 8))
            (local.set 0
              (i32.sub
                (local.get 0)
                (i32.const 4)))
            (if  ;; label = @5
              (i32.or
                (i32.load offset=$attention align=1
                  (i32.const 16777216))
                (i32.lt_s
                  (local.get 0)
                  (i32.const 4)))
              (then
                (local.set 5
                  (i32.const -2147483648))
                (br 2 (;@3;))))
            (br 0 (;@4;))))
        (local.set 0
          (i32.sub
            (local.get 0)
            (i32.and
              (local.get 5)
              (i32.const 255))))
        (i64.store offset=$rip align=1
          (i32.const 16777216)
          (i64.add
            (local.get 2)
            (i64.extend_i32_u
              (i32.and
                (i32.shr_u
                  (local.get 5)
                  (i32.const 8))
                (i32.const 8191)))))
        (if  ;; label = @3
          (i32.eqz
            (i32.lt_s
              (local.get 5)
              (i32.const 0)))
          (then
            (i64.store offset=$regionExits[2] align=1
              (i32.const 16777216)
              (i64.add
                (i64.load offset=$regionExits[2] align=1
                  (i32.const 16777216))
                (i64.const 1)))))
        (if  ;; label = @3
          (i32.and
            (local.get 5)
            (i32.const 1073741824))
          (then
            (i32.store offset=$splitRecord align=1
              (i32.const 16777216)
              (global.get 0))
            (i32.store offset=$gpr[3] align=1
              (i32.load offset=$splitRecord align=1
                (i32.const 16777216))
              (i32.add
                (i32.load offset=$gpr[3] align=1
                  (i32.load offset=$splitRecord align=1
                    (i32.const 16777216)))
                (i32.const 1)))))
        (return
          (i32.xor
            (local.get 0)
            (i32.const -1))))
      (local.get 0)
      (local.get 1)
      (local.set 10
        (i32.add
          (i32.shl
            (i32.and
              (i32.xor
                (local.tee 10
                  (i32.wrap_i64
                    (local.get 3)))
                (i32.shr_u
                  (local.get 10)
                  (i32.const 12)))
              (i32.const 8191))
            (i32.const 4))
          (i32.const 16777216)))
      (if (result i32)  ;; label = @2
        (i64.eq
          (i64.load offset=229376 align=1
            (local.get 10))
          (i64.xor
            (local.get 3)
            (i64.const 13792273858822144)))
        (then
          (i32.load offset=229388 align=1
            (local.get 10)))
        (else
          (call 6
            (i32.const 16777216))))
      (return_call_indirect (type 0)))
    (local.get 0)
    (local.get 1)
    (local.set 10
      (i32.add
        (i32.shl
          (i32.and
            (i32.xor
              (local.tee 10
                (i32.wrap_i64
                  (local.get 3)))
              (i32.shr_u
                (local.get 10)
                (i32.const 12)))
            (i32.const 8191))
          (i32.const 4))
        (i32.const 16777216)))
    (if (result i32)  ;; label = @1
      (i64.eq
        (i64.load offset=229376 align=1
          (local.get 10))
        (i64.xor
          (local.get 3)
          (i64.shl
            (i64.extend_i32_u
              (i32.load offset=$mode align=1
                (i32.const 16777216)))
            (i64.const 48))))
      (then
        (i32.load offset=229388 align=1
          (local.get 10)))
      (else
        (call 6
          (i32.const 16777216))))
    (return_call_indirect (type 0))
    (unreachable))
  (global (;0;) (mut i32) (i32.const 0))
  (export "g0" (global 0))
  (export "r0" (func 7)))
