;; conditions as values
;; start: cmp rax, rcx  48 39 c8
;; setl bl              0f 9c c3
;; cmovg rdx, rax       48 0f 4f d0
;; sbb rsi, rsi         48 19 f6
;; test eax, 0x40       a9 40 00 00 00
;; cmovnz rdi, rcx      48 0f 45 f9
;; inc rax              48 ff c0
;; jmp start            eb e5
(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i32) (result i32)))
  (import "env" "memory" (memory (;0;) 1 65536 shared))
  (import "env" "find_region" (func (;0;) (type 1)))
  (import "env" "regions" (table (;0;) 32768 32768 funcref))
  (import "env" "outline" (table (;1;) 0 funcref))
  (func (;1;) (type 0) (param i32 i32) (result i32)
    (local i64 i64 i64 i64 i64 i64 i64 i64 i32 i64 i64 i64 i64 i64 i32 i32 i32)
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
        (i64.const 0)))
    (local.set 4
      (i64.load align=1
        (i32.const 16777216)))
    (local.set 6
      (i64.load offset=$gpr[1] align=1
        (i32.const 16777216)))
    (local.set 12
      (i64.load offset=$gpr[2] align=1
        (i32.const 16777216)))
    (local.set 11
      (i64.load offset=$gpr[3] align=1
        (i32.const 16777216)))
    (local.set 13
      (i64.load offset=$gpr[6] align=1
        (i32.const 16777216)))
    (local.set 15
      (i64.load offset=$gpr[7] align=1
        (i32.const 16777216)))
    (block  ;; label = @1
      (block  ;; label = @2
        (block  ;; label = @3
          (block  ;; label = @4
            (block  ;; label = @5
              (block  ;; label = @6
                (block  ;; label = @7
                  (block  ;; label = @8
                    (block  ;; label = @9
                      (loop  ;; label = @10
                        (local.set 5
                          (local.get 4))
                        (local.set 7
                          (local.get 6))
                        (local.set 8
                          (local.get 5))
                        (local.set 9
                          (local.get 7))
                        (local.set 10
                          (i64.lt_u
                            (local.get 5)
                            (local.get 7)))
                        (local.set 11
                          (i64.or
                            (i64.and
                              (local.get 11)
                              (i64.const -256))
                            (i64.and
                              (i64.extend_i32_u
                                (i64.lt_s
                                  (local.get 8)
                                  (local.get 9)))
                              (i64.const 255))))
                        (local.set 12
                          (select
                            (local.get 4)
                            (local.get 12)
                            (i32.eqz
                              (i64.le_s
                                (local.get 8)
                                (local.get 9)))))
                        (local.set 13
                          (i64.sub
                            (i64.sub
                              (local.get 13)
                              (local.get 13))
                            (i64.extend_i32_u
                              (local.get 10))))
                        (local.set 14
                          (i64.extend32_s
                            (i64.and
                              (i64.and
                                (local.get 4)
                                (i64.const 4294967295))
                              (i64.const 64))))
                        (local.set 10
                          (i32.const 0))
                        (local.set 15
                          (select
                            (local.get 6)
                            (local.get 15)
                            (i32.eqz
                              (i64.eqz
                                (local.get 14)))))
                        (local.set 4
                          (i64.add
                            (local.tee 5
                              (local.get 4))
                            (i64.const 1)))
                        (local.set 14
                          (local.tee 7
                            (i64.add
                              (local.get 5)
                              (i64.const 1))))
                        (local.set 8
                          (i64.shl
                            (i64.extend_i32_u
                              (i64.eq
                                (local.get 7)
                                (i64.const -9223372036854775808)))
                            (i64.const 63)))
                        (local.set 9
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
                        (local.set 10
                          (i32.const 0))
                        (local.set 16
                          (i32.const 0))
                        (local.set 0
                          (i32.sub
                            (local.get 0)
                            (i32.const 8)))
                        (if  ;; label = @11
                          (i32.or
                            (i32.load offset=$attention align=1
                              (i32.const 16777216))
                            (i32.lt_s
                              (local.get 0)
                              (i32.const 8)))
                          (then
                            (local.set 17
                              (i32.const -2147483648))
                            (br 2 (;@9;))))
                        (br 0 (;@10;))))
                    (i64.store align=1
                      (i32.const 16777216)
                      (local.get 4)))
                  (i64.store offset=$gpr[7] align=1
                    (i32.const 16777216)
                    (local.get 15)))
                (i64.store offset=$gpr[6] align=1
                  (i32.const 16777216)
                  (local.get 13)))
              (i64.store offset=$gpr[2] align=1
                (i32.const 16777216)
                (local.get 12)))
            (i64.store offset=$gpr[3] align=1
              (i32.const 16777216)
              (local.get 11)))
          (i64.store offset=$flagResult align=1
            (i32.const 16777216)
            (local.get 14))
          (i64.store offset=$flagA align=1
            (i32.const 16777216)
            (local.get 8))
          (i64.store offset=$flagB align=1
            (i32.const 16777216)
            (local.get 9))
          (i32.store offset=$flagForm align=1
            (i32.const 16777216)
            (i32.add
              (local.get 10)
              (i32.shl
                (local.get 16)
                (i32.const 1)))))
        (local.set 0
          (i32.sub
            (local.get 0)
            (i32.and
              (local.get 17)
              (i32.const 255))))
        (i64.store offset=$rip align=1
          (i32.const 16777216)
          (i64.add
            (local.get 2)
            (i64.extend_i32_u
              (i32.and
                (i32.shr_u
                  (local.get 17)
                  (i32.const 8))
                (i32.const 8191)))))
        (if  ;; label = @3
          (i32.eqz
            (i32.lt_s
              (local.get 17)
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
            (local.get 17)
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
      (local.set 18
        (i32.add
          (i32.shl
            (i32.and
              (i32.xor
                (local.tee 18
                  (i32.wrap_i64
                    (local.get 3)))
                (i32.shr_u
                  (local.get 18)
                  (i32.const 12)))
              (i32.const 8191))
            (i32.const 4))
          (i32.const 16777216)))
      (if (result i32)  ;; label = @2
        (i64.eq
          (i64.load offset=229376 align=1
            (local.get 18))
          (i64.xor
            (local.get 3)
            (i64.const 13792273858822144)))
        (then
          (i32.load offset=229388 align=1
            (local.get 18)))
        (else
          (call 0
            (i32.const 16777216))))
      (return_call_indirect (type 0)))
    (local.get 0)
    (local.get 1)
    (local.set 18
      (i32.add
        (i32.shl
          (i32.and
            (i32.xor
              (local.tee 18
                (i32.wrap_i64
                  (local.get 3)))
              (i32.shr_u
                (local.get 18)
                (i32.const 12)))
            (i32.const 8191))
          (i32.const 4))
        (i32.const 16777216)))
    (if (result i32)  ;; label = @1
      (i64.eq
        (i64.load offset=229376 align=1
          (local.get 18))
        (i64.xor
          (local.get 3)
          (i64.shl
            (i64.extend_i32_u
              (i32.load offset=$mode align=1
                (i32.const 16777216)))
            (i64.const 48))))
      (then
        (i32.load offset=229388 align=1
          (local.get 18)))
      (else
        (call 0
          (i32.const 16777216))))
    (return_call_indirect (type 0))
    (unreachable))
  (global (;0;) (mut i32) (i32.const 0))
  (export "g0" (global 0))
  (export "r0" (func 1)))
