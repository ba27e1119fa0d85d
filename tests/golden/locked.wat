;; LOCK forms
;; start: mov ebx, 0x200000    bb 00 00 20 00
;; lock inc qword [rbx]        f0 48 ff 03
;; mov eax, 1                  b8 01 00 00 00
;; lock xadd [rbx+8], eax      f0 0f c1 43 08
;; lock cmpxchg [rbx+16], ecx  f0 0f b1 4b 10
;; xchg [rbx+24], rdx          48 87 53 18
;; jmp start                   eb e2
(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i32 i64 i32 i32) (result i32)))
  (type (;2;) (func (param i32) (result i32)))
  (import "env" "memory" (memory (;0;) 1 65536 shared))
  (import "env" "plain_store" (func (;0;) (type 1)))
  (import "env" "find_region" (func (;1;) (type 2)))
  (import "env" "regions" (table (;0;) 32768 32768 funcref))
  (import "env" "outline" (table (;1;) 0 funcref))
  (func (;2;) (type 0) (param i32 i32) (result i32)
    (local i64 i64 i64 i32 i64 i64 i32 i32 i32 i32 i32 i64 i64 i64 i64 i64 i64 i32 i64 i64 i32 i64 i64 i64)
    (if  ;; label = @1
      (i32.or
        (i32.load offset=$attention align=1
          (i32.const 16777216))
        (i32.lt_s
          (local.get 0)
          (i32.const 7)))
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
    (local.set 20
      (i64.load align=1
        (i32.const 16777216)))
    (local.set 23
      (i64.load offset=$gpr[1] align=1
        (i32.const 16777216)))
    (local.set 25
      (i64.load offset=$gpr[2] align=1
        (i32.const 16777216)))
    (local.set 16
      (i64.load offset=$flagResult align=1
        (i32.const 16777216)))
    (local.set 17
      (i64.load offset=$flagA align=1
        (i32.const 16777216)))
    (local.set 18
      (i64.load offset=$flagB align=1
        (i32.const 16777216)))
    (local.set 22
      (i32.and
        (local.tee 19
          (i32.load offset=$flagForm align=1
            (i32.const 16777216)))
        (i32.const 1)))
    (local.set 19
      (i32.shr_u
        (local.get 19)
        (i32.const 1)))
    (local.set 5
      (i32.shl
        (i32.load offset=$tlbContext align=1
          (i32.const 16777216))
        (i32.const 15)))
    (block  ;; label = @1
      (block  ;; label = @2
        (block  ;; label = @3
          (block  ;; label = @4
            (block  ;; label = @5
              (block  ;; label = @6
                (block  ;; label = @7
                  (loop  ;; label = @8
                    (local.set 4
                      (i64.and
                        (i64.const 2097152)
                        (i64.const 4294967295)))
                    (local.set 6
                      (local.get 4))
                    (local.set 8
                      (i32.add
                        (local.get 5)
                        (i32.and
                          (i32.shr_u
                            (i32.wrap_i64
                              (local.tee 7
                                (i64.sub
                                  (local.get 6)
                                  (i64.const 0))))
                            (i32.const 8))
                          (i32.const 16368))))
                    (local.set 11
                      (i32.add
                        (local.tee 12
                          (local.tee 11
                            (if (result i32)  ;; label = @9
                              (i64.gt_u
                                (i64.sub
                                  (i64.load offset=16859136 align=1
                                    (local.get 8))
                                  (local.get 7))
                                (i64.const -4066))
                              (then
                                (i32.add
                                  (i32.wrap_i64
                                    (local.get 7))
                                  (i32.load offset=16859144 align=1
                                    (local.get 8))))
                              (else
                                (local.set 9
                                  (i32.const 1073743105))
                                (br_if 2 (;@7;)
                                  (i32.eqz
                                    (local.tee 10
                                      (call 0
                                        (i32.const 16777216)
                                        (local.get 7)
                                        (i32.const 32)
                                        (i32.const 0)))))
                                (local.get 10)))))
                        (i32.const 0)))
                    (local.set 9
                      (i32.const 1073743105))
                    (br_if 1 (;@7;)
                      (i32.and
                        (local.get 11)
                        (i32.const 7)))
                    (local.set 13
                      (i64.load align=1
                        (local.get 11)))
                    (loop  ;; label = @9
                      (local.set 14
                        (local.get 13))
                      (local.set 13
                        (local.tee 15
                          (i64.atomic.rmw.cmpxchg
                            (local.get 11)
                            (local.get 14)
                            (i64.add
                              (local.get 14)
                              (i64.const 1)))))
                      (br_if 0 (;@9;)
                        (i64.ne
                          (local.get 15)
                          (local.get 14))))
                    (local.set 16
                      (local.tee 14
                        (i64.add
                          (local.tee 15
                            (local.get 13))
                          (i64.const 1))))
                    (local.set 17
                      (i64.shl
                        (i64.extend_i32_u
                          (i64.eq
                            (local.get 14)
                            (i64.const -9223372036854775808)))
                        (i64.const 63)))
                    (local.set 18
                      (i64.extend_i32_u
                        (i32.shl
                          (i32.and
                            (i32.wrap_i64
                              (i64.shr_u
                                (i64.xor
                                  (local.get 15)
                                  (local.get 14))
                                (i64.const 4)))
                            (i32.const 1))
                          (i32.const 4))))
                    (local.set 19
                      (i32.const 0))
                    (local.set 20
                      (i64.and
                        (i64.const 1)
                        (i64.const 4294967295)))
                    (local.set 13
                      (i64.and
                        (local.get 20)
                        (i64.const 4294967295)))
                    (local.set 11
                      (i32.add
                        (local.get 12)
                        (i32.const 8)))
                    (local.set 9
                      (i32.const 3587))
                    (br_if 1 (;@7;)
                      (i32.and
                        (local.get 11)
                        (i32.const 3)))
                    (local.set 14
                      (i64.load32_u align=1
                        (local.get 11)))
                    (loop  ;; label = @9
                      (local.set 15
                        (local.get 14))
                      (local.set 14
                        (local.tee 21
                          (i64.atomic.rmw32.cmpxchg_u
                            (local.get 11)
                            (local.get 15)
                            (i64.and
                              (i64.add
                                (local.get 15)
                                (local.get 13))
                              (i64.const 4294967295)))))
                      (br_if 0 (;@9;)
                        (i64.ne
                          (local.get 21)
                          (local.get 15))))
                    (local.set 20
                      (i64.and
                        (local.tee 21
                          (local.get 14))
                        (i64.const 4294967295)))
                    (local.set 16
                      (i64.extend32_s
                        (local.tee 15
                          (i64.add
                            (local.get 21)
                            (local.get 13)))))
                    (local.set 17
                      (i64.extend32_s
                        (local.get 21)))
                    (local.set 18
                      (i64.extend32_s
                        (local.get 13)))
                    (local.set 22
                      (i32.lt_u
                        (i32.wrap_i64
                          (local.get 15))
                        (i32.wrap_i64
                          (local.get 21))))
                    (local.set 19
                      (i32.const 1))
                    (local.set 13
                      (i64.and
                        (local.get 23)
                        (i64.const 4294967295)))
                    (local.set 14
                      (i64.and
                        (local.get 20)
                        (i64.const 4294967295)))
                    (local.set 11
                      (i32.add
                        (local.get 12)
                        (i32.const 16)))
                    (local.set 9
                      (i32.const 4868))
                    (br_if 1 (;@7;)
                      (i32.and
                        (local.get 11)
                        (i32.const 3)))
                    (local.set 15
                      (i64.load32_u align=1
                        (local.get 11)))
                    (loop  ;; label = @9
                      (local.set 21
                        (local.get 15))
                      (local.set 15
                        (local.tee 24
                          (i64.atomic.rmw32.cmpxchg_u
                            (local.get 11)
                            (local.get 21)
                            (i64.and
                              (select
                                (local.get 13)
                                (local.get 21)
                                (i64.eq
                                  (local.get 21)
                                  (local.get 14)))
                              (i64.const 4294967295)))))
                      (br_if 0 (;@9;)
                        (i64.ne
                          (local.get 24)
                          (local.get 21))))
                    (if  ;; label = @9
                      (i64.ne
                        (local.tee 13
                          (local.get 15))
                        (local.get 14))
                      (then
                        (local.set 20
                          (i64.and
                            (local.get 13)
                            (i64.const 4294967295)))))
                    (local.set 16
                      (i64.extend32_s
                        (i64.sub
                          (local.get 14)
                          (local.get 13))))
                    (local.set 17
                      (i64.extend32_s
                        (local.get 14)))
                    (local.set 18
                      (i64.extend32_s
                        (local.get 13)))
                    (local.set 22
                      (i32.lt_u
                        (i32.wrap_i64
                          (local.get 14))
                        (i32.wrap_i64
                          (local.get 13))))
                    (local.set 19
                      (i32.const 2))
                    (local.set 13
                      (local.get 25))
                    (local.set 11
                      (i32.add
                        (local.get 12)
                        (i32.const 24)))
                    (local.set 9
                      (i32.const 6149))
                    (br_if 1 (;@7;)
                      (i32.and
                        (local.get 11)
                        (i32.const 7)))
                    (local.set 14
                      (i64.load align=1
                        (local.get 11)))
                    (loop  ;; label = @9
                      (local.set 15
                        (local.get 14))
                      (local.set 14
                        (local.tee 21
                          (i64.atomic.rmw.cmpxchg
                            (local.get 11)
                            (local.get 15)
                            (local.get 13))))
                      (br_if 0 (;@9;)
                        (i64.ne
                          (local.get 21)
                          (local.get 15))))
                    (local.set 25
                      (local.get 14))
                    (local.set 0
                      (i32.sub
                        (local.get 0)
                        (i32.const 7)))
                    (if  ;; label = @9
                      (i32.or
                        (i32.load offset=$attention align=1
                          (i32.const 16777216))
                        (i32.lt_s
                          (local.get 0)
                          (i32.const 7)))
                      (then
                        (local.set 9
                          (i32.const -2147483648))
                        (br 2 (;@7;))))
                    (br 0 (;@8;))))
                (i64.store offset=$gpr[2] align=1
                  (i32.const 16777216)
                  (local.get 25)))
              (i64.store align=1
                (i32.const 16777216)
                (local.get 20)))
            (i64.store offset=$flagResult align=1
              (i32.const 16777216)
              (local.get 16))
            (i64.store offset=$flagA align=1
              (i32.const 16777216)
              (local.get 17))
            (i64.store offset=$flagB align=1
              (i32.const 16777216)
              (local.get 18))
            (i32.store offset=$flagForm align=1
              (i32.const 16777216)
              (i32.add
                (local.get 22)
                (i32.shl
                  (local.get 19)
                  (i32.const 1)))))
          (i64.store offset=$gpr[3] align=1
            (i32.const 16777216)
            (local.get 4)))
        (local.set 0
          (i32.sub
            (local.get 0)
            (i32.and
              (local.get 9)
              (i32.const 255))))
        (i64.store offset=$rip align=1
          (i32.const 16777216)
          (i64.add
            (local.get 2)
            (i64.extend_i32_u
              (i32.and
                (i32.shr_u
                  (local.get 9)
                  (i32.const 8))
                (i32.const 8191)))))
        (if  ;; label = @3
          (i32.eqz
            (i32.lt_s
              (local.get 9)
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
            (local.get 9)
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
      (local.set 8
        (i32.add
          (i32.shl
            (i32.and
              (i32.xor
                (local.tee 8
                  (i32.wrap_i64
                    (local.get 3)))
                (i32.shr_u
                  (local.get 8)
                  (i32.const 12)))
              (i32.const 8191))
            (i32.const 4))
          (i32.const 16777216)))
      (if (result i32)  ;; label = @2
        (i64.eq
          (i64.load offset=229376 align=1
            (local.get 8))
          (i64.xor
            (local.get 3)
            (i64.const 13792273858822144)))
        (then
          (i32.load offset=229388 align=1
            (local.get 8)))
        (else
          (call 1
            (i32.const 16777216))))
      (return_call_indirect (type 0)))
    (local.get 0)
    (local.get 1)
    (local.set 8
      (i32.add
        (i32.shl
          (i32.and
            (i32.xor
              (local.tee 8
                (i32.wrap_i64
                  (local.get 3)))
              (i32.shr_u
                (local.get 8)
                (i32.const 12)))
            (i32.const 8191))
          (i32.const 4))
        (i32.const 16777216)))
    (if (result i32)  ;; label = @1
      (i64.eq
        (i64.load offset=229376 align=1
          (local.get 8))
        (i64.xor
          (local.get 3)
          (i64.shl
            (i64.extend_i32_u
              (i32.load offset=$mode align=1
                (i32.const 16777216)))
            (i64.const 48))))
      (then
        (i32.load offset=229388 align=1
          (local.get 8)))
      (else
        (call 1
          (i32.const 16777216))))
    (return_call_indirect (type 0))
    (unreachable))
  (global (;0;) (mut i32) (i32.const 0))
  (export "g0" (global 0))
  (export "r0" (func 2)))
