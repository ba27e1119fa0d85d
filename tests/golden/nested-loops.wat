;; start: mov edx, 40   ba 28 00 00 00
;; outer: mov ecx, 40   b9 28 00 00 00
;; inner: add rax, rcx  48 01 c8
;; dec ecx              ff c9
;; jnz inner            75 f9
;; dec edx              ff ca
;; jnz outer            75 f0
;; jmp start            eb e9
(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i32) (result i32)))
  (import "env" "memory" (memory (;0;) 1 65536 shared))
  (import "env" "find_region" (func (;0;) (type 1)))
  (import "env" "regions" (table (;0;) 32768 32768 funcref))
  (import "env" "outline" (table (;1;) 0 funcref))
  (func (;1;) (type 0) (param i32 i32) (result i32)
    (local i64 i64 i64 i64 i64 i64 i32 i64 i64 i64 i32 i32 i64 i32 i32)
    (if  ;; label = @1
      (i32.or
        (i32.load offset=$attention align=1
          (i32.const 16777216))
        (i32.lt_s
          (local.get 0)
          (i32.const 8)))
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
        (i64.const 10)))
    (local.set 6
      (i64.load align=1
        (i32.const 16777216)))
    (local.set 4
      (i64.load offset=$gpr[1] align=1
        (i32.const 16777216)))
    (local.set 14
      (i64.load offset=$gpr[2] align=1
        (i32.const 16777216)))
    (block  ;; label = @1
      (block  ;; label = @2
        (block  ;; label = @3
          (block  ;; label = @4
            (block  ;; label = @5
              (block  ;; label = @6
                (block  ;; label = @7
                  (loop  ;; label = @8
                    (local.set 5
                      (local.get 4))
                    (local.set 6
                      (i64.add
                        (local.tee 7
                          (local.get 6))
                        (local.get 5)))
                    (local.set 8
                      (i64.lt_u
                        (i64.add
                          (local.get 7)
                          (local.get 5))
                        (local.get 7)))
                    (local.set 4
                      (i64.and
                        (i64.add
                          (local.tee 5
                            (i64.and
                              (local.get 4)
                              (i64.const 4294967295)))
                          (i64.const -1))
                        (i64.const 4294967295)))
                    (local.set 9
                      (i64.extend32_s
                        (local.tee 7
                          (i64.add
                            (local.get 5)
                            (i64.const -1)))))
                    (local.set 10
                      (i64.shl
                        (i64.extend_i32_u
                          (i64.eq
                            (i64.shl
                              (local.get 5)
                              (i64.const 32))
                            (i64.const -9223372036854775808)))
                        (i64.const 63)))
                    (local.set 11
                      (i64.extend_i32_u
                        (i32.shl
                          (i32.and
                            (i32.wrap_i64
                              (i64.shr_u
                                (i64.xor
                                  (local.get 5)
                                  (local.get 7))
                                (i64.const 4)))
                            (i32.const 1))
                          (i32.const 4))))
                    (local.set 12
                      (i32.const 0))
                    (local.set 13
                      (i32.eqz
                        (i64.eqz
                          (local.get 9))))
                    (local.set 0
                      (i32.sub
                        (local.get 0)
                        (i32.const 3)))
                    (if  ;; label = @9
                      (local.get 13)
                      (then
                        (if  ;; label = @10
                          (i32.or
                            (i32.load offset=$attention align=1
                              (i32.const 16777216))
                            (i32.lt_s
                              (local.get 0)
                              (i32.const 8)))
                          (then
                            (local.set 15
                              (i32.const -2147481088))
                            (br 3 (;@7;))))
                        (br 1 (;@8;)))
                      (else
                        (block  ;; label = @10
                          (local.set 14
                            (i64.and
                              (i64.add
                                (local.tee 5
                                  (i64.and
                                    (local.get 14)
                                    (i64.const 4294967295)))
                                (i64.const -1))
                              (i64.const 4294967295)))
                          (local.set 9
                            (i64.extend32_s
                              (local.tee 7
                                (i64.add
                                  (local.get 5)
                                  (i64.const -1)))))
                          (local.set 10
                            (i64.shl
                              (i64.extend_i32_u
                                (i64.eq
                                  (i64.shl
                                    (local.get 5)
                                    (i64.const 32))
                                  (i64.const -9223372036854775808)))
                              (i64.const 63)))
                          (local.set 11
                            (i64.extend_i32_u
                              (i32.shl
                                (i32.and
                                  (i32.wrap_i64
                                    (i64.shr_u
                                      (i64.xor
                                        (local.get 5)
                                        (local.get 7))
                                      (i64.const 4)))
                                  (i32.const 1))
                                (i32.const 4))))
                          (local.set 12
                            (i32.const 0))
                          (local.set 13
                            (i32.eqz
                              (i64.eqz
                                (local.get 9))))
                          (local.set 0
                            (i32.sub
                              (local.get 0)
                              (i32.const 2)))
                          (if  ;; label = @11
                            (local.get 13)
                            (then
                              (br 1 (;@10;)))
                            (else
                              (local.set 0
                                (i32.sub
                                  (local.get 0)
                                  (i32.const 1)))
                              (local.set 14
                                (i64.and
                                  (i64.const 40)
                                  (i64.const 4294967295)))
                              (local.set 0
                                (i32.sub
                                  (local.get 0)
                                  (i32.const 1)))
                              (br 1 (;@10;)))))
                        (local.set 4
                          (i64.and
                            (i64.const 40)
                            (i64.const 4294967295)))
                        (local.set 0
                          (i32.sub
                            (local.get 0)
                            (i32.const 1)))
                        (if  ;; label = @10
                          (i32.or
                            (i32.load offset=$attention align=1
                              (i32.const 16777216))
                            (i32.lt_s
                              (local.get 0)
                              (i32.const 8)))
                          (then
                            (local.set 15
                              (i32.const -2147481088))
                            (br 3 (;@7;))))
                        (br 1 (;@8;))))))
                (i64.store offset=$gpr[2] align=1
                  (i32.const 16777216)
                  (local.get 14)))
              (i64.store offset=$gpr[1] align=1
                (i32.const 16777216)
                (local.get 4)))
            (i64.store offset=$flagResult align=1
              (i32.const 16777216)
              (local.get 9))
            (i64.store offset=$flagA align=1
              (i32.const 16777216)
              (local.get 10))
            (i64.store offset=$flagB align=1
              (i32.const 16777216)
              (local.get 11))
            (i32.store offset=$flagForm align=1
              (i32.const 16777216)
              (i32.add
                (local.get 8)
                (i32.shl
                  (local.get 12)
                  (i32.const 1)))))
          (i64.store align=1
            (i32.const 16777216)
            (local.get 6)))
        (local.set 0
          (i32.sub
            (local.get 0)
            (i32.and
              (local.get 15)
              (i32.const 255))))
        (i64.store offset=$rip align=1
          (i32.const 16777216)
          (i64.add
            (local.get 2)
            (i64.extend_i32_u
              (i32.and
                (i32.shr_u
                  (local.get 15)
                  (i32.const 8))
                (i32.const 8191)))))
        (if  ;; label = @3
          (i32.eqz
            (i32.lt_s
              (local.get 15)
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
            (local.get 15)
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
      (local.set 16
        (i32.add
          (i32.shl
            (i32.and
              (i32.xor
                (local.tee 16
                  (i32.wrap_i64
                    (local.get 3)))
                (i32.shr_u
                  (local.get 16)
                  (i32.const 12)))
              (i32.const 8191))
            (i32.const 4))
          (i32.const 16777216)))
      (if (result i32)  ;; label = @2
        (i64.eq
          (i64.load offset=229376 align=1
            (local.get 16))
          (i64.xor
            (local.get 3)
            (i64.const 13792273858822144)))
        (then
          (i32.load offset=229388 align=1
            (local.get 16)))
        (else
          (call 0
            (i32.const 16777216))))
      (return_call_indirect (type 0)))
    (local.get 0)
    (local.get 1)
    (local.set 16
      (i32.add
        (i32.shl
          (i32.and
            (i32.xor
              (local.tee 16
                (i32.wrap_i64
                  (local.get 3)))
              (i32.shr_u
                (local.get 16)
                (i32.const 12)))
            (i32.const 8191))
          (i32.const 4))
        (i32.const 16777216)))
    (if (result i32)  ;; label = @1
      (i64.eq
        (i64.load offset=229376 align=1
          (local.get 16))
        (i64.xor
          (local.get 3)
          (i64.shl
            (i64.extend_i32_u
              (i32.load offset=$mode align=1
                (i32.const 16777216)))
            (i64.const 48))))
      (then
        (i32.load offset=229388 align=1
          (local.get 16)))
      (else
        (call 0
          (i32.const 16777216))))
    (return_call_indirect (type 0))
    (unreachable))
  (global (;0;) (mut i32) (i32.const 0))
  (export "g0" (global 0))
  (export "r0" (func 1)))
