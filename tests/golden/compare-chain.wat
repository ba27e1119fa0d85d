;; several conditions of one comparison, and of several
;; start: cmp rax, rbx  48 39 d8
;; je equal             74 0c
;; jb below             72 0e
;; cmp eax, 100         83 f8 64
;; jg above             7f 0f
;; inc rax              48 ff c0
;; jmp start            eb ef
;; equal: xor eax, eax  31 c0
;; jmp start            eb eb
;; below: add rax, 3    48 83 c0 03
;; jmp start            eb e5
;; above: sub rax, 90   48 83 e8 5a
;; jmp start            eb df
(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i32) (result i32)))
  (import "env" "memory" (memory (;0;) 1 65536 shared))
  (import "env" "find_region" (func (;0;) (type 1)))
  (import "env" "regions" (table (;0;) 32768 32768 funcref))
  (import "env" "outline" (table (;1;) 0 funcref))
  (func (;1;) (type 0) (param i32 i32) (result i32)
    (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i32 i32 i32 i32 i32)
    (if  ;; label = @1
      (i32.or
        (i32.load offset=$attention align=1
          (i32.const 16777216))
        (i32.lt_s
          (local.get 0)
          (i32.const 9)))
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
      (i64.load offset=$gpr[3] align=1
        (i32.const 16777216)))
    (block  ;; label = @1
      (block  ;; label = @2
        (block  ;; label = @3
          (block  ;; label = @4
            (block  ;; label = @5
              (loop  ;; label = @6
                (local.set 5
                  (local.get 4))
                (local.set 7
                  (local.get 6))
                (local.set 8
                  (i64.sub
                    (local.get 5)
                    (local.get 7)))
                (local.set 9
                  (local.get 5))
                (local.set 10
                  (local.get 7))
                (local.set 11
                  (i64.lt_u
                    (local.get 5)
                    (local.get 7)))
                (local.set 12
                  (i32.const 2))
                (local.set 13
                  (i64.eqz
                    (local.get 8)))
                (local.set 0
                  (i32.sub
                    (local.get 0)
                    (i32.const 2)))
                (if  ;; label = @7
                  (local.get 13)
                  (then
                    (local.set 5
                      (i64.and
                        (local.get 4)
                        (i64.const 4294967295)))
                    (local.set 4
                      (i64.and
                        (i64.xor
                          (local.tee 7
                            (i64.and
                              (local.get 4)
                              (i64.const 4294967295)))
                          (local.get 5))
                        (i64.const 4294967295)))
                    (local.set 8
                      (i64.extend32_s
                        (i64.xor
                          (local.get 7)
                          (local.get 5))))
                    (local.set 9
                      (i64.const 0))
                    (local.set 10
                      (i64.const 0))
                    (local.set 11
                      (i32.const 0))
                    (local.set 12
                      (i32.const 0))
                    (local.set 0
                      (i32.sub
                        (local.get 0)
                        (i32.const 2)))
                    (if  ;; label = @8
                      (i32.or
                        (i32.load offset=$attention align=1
                          (i32.const 16777216))
                        (i32.lt_s
                          (local.get 0)
                          (i32.const 9)))
                      (then
                        (local.set 14
                          (i32.const -2147483648))
                        (br 3 (;@5;))))
                    (br 1 (;@6;)))
                  (else
                    (local.set 13
                      (i64.lt_u
                        (local.get 9)
                        (local.get 10)))
                    (local.set 0
                      (i32.sub
                        (local.get 0)
                        (i32.const 1)))
                    (if  ;; label = @8
                      (local.get 13)
                      (then
                        (local.set 3
                          (i64.add
                            (local.get 2)
                            (i64.const 21)))
                        (i64.store align=1
                          (i32.const 16777216)
                          (local.get 4))
                        (i64.store offset=$flagResult align=1
                          (i32.const 16777216)
                          (local.get 8))
                        (i64.store offset=$flagA align=1
                          (i32.const 16777216)
                          (local.get 9))
                        (i64.store offset=$flagB align=1
                          (i32.const 16777216)
                          (local.get 10))
                        (i32.store offset=$flagForm align=1
                          (i32.const 16777216)
                          (i32.add
                            (local.get 11)
                            (i32.shl
                              (local.get 12)
                              (i32.const 1))))
                        (i64.store offset=$rip align=1
                          (i32.const 16777216)
                          (local.get 3))
                        (br 6 (;@2;)))
                      (else
                        (local.set 8
                          (i64.extend32_s
                            (i64.sub
                              (local.tee 5
                                (i64.and
                                  (local.get 4)
                                  (i64.const 4294967295)))
                              (i64.const 100))))
                        (local.set 9
                          (i64.extend32_s
                            (local.get 5)))
                        (local.set 10
                          (i64.extend32_s
                            (i64.const 100)))
                        (local.set 11
                          (i32.lt_u
                            (i32.wrap_i64
                              (local.get 5))
                            (i32.wrap_i64
                              (i64.const 100))))
                        (local.set 12
                          (i32.const 2))
                        (local.set 13
                          (i32.eqz
                            (i64.le_s
                              (local.get 9)
                              (local.get 10))))
                        (local.set 0
                          (i32.sub
                            (local.get 0)
                            (i32.const 2)))
                        (if  ;; label = @9
                          (local.get 13)
                          (then
                            (local.set 3
                              (i64.add
                                (local.get 2)
                                (i64.const 27)))
                            (i64.store align=1
                              (i32.const 16777216)
                              (local.get 4))
                            (i64.store offset=$flagResult align=1
                              (i32.const 16777216)
                              (local.get 8))
                            (i64.store offset=$flagA align=1
                              (i32.const 16777216)
                              (local.get 9))
                            (i64.store offset=$flagB align=1
                              (i32.const 16777216)
                              (local.get 10))
                            (i32.store offset=$flagForm align=1
                              (i32.const 16777216)
                              (i32.add
                                (local.get 11)
                                (i32.shl
                                  (local.get 12)
                                  (i32.const 1))))
                            (i64.store offset=$rip align=1
                              (i32.const 16777216)
                              (local.get 3))
                            (br 7 (;@2;)))
                          (else
                            (local.set 4
                              (i64.add
                                (local.tee 5
                                  (local.get 4))
                                (i64.const 1)))
                            (local.set 8
                              (local.tee 7
                                (i64.add
                                  (local.get 5)
                                  (i64.const 1))))
                            (local.set 9
                              (i64.shl
                                (i64.extend_i32_u
                                  (i64.eq
                                    (local.get 7)
                                    (i64.const -9223372036854775808)))
                                (i64.const 63)))
                            (local.set 10
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
                            (local.set 0
                              (i32.sub
                                (local.get 0)
                                (i32.const 2)))
                            (if  ;; label = @10
                              (i32.or
                                (i32.load offset=$attention align=1
                                  (i32.const 16777216))
                                (i32.lt_s
                                  (local.get 0)
                                  (i32.const 9)))
                              (then
                                (local.set 14
                                  (i32.const -2147483648))
                                (br 5 (;@5;))))
                            (br 3 (;@6;))))))))))
            (i64.store align=1
              (i32.const 16777216)
              (local.get 4)))
          (i64.store offset=$flagResult align=1
            (i32.const 16777216)
            (local.get 8))
          (i64.store offset=$flagA align=1
            (i32.const 16777216)
            (local.get 9))
          (i64.store offset=$flagB align=1
            (i32.const 16777216)
            (local.get 10))
          (i32.store offset=$flagForm align=1
            (i32.const 16777216)
            (i32.add
              (local.get 11)
              (i32.shl
                (local.get 12)
                (i32.const 1)))))
        (local.set 0
          (i32.sub
            (local.get 0)
            (i32.and
              (local.get 14)
              (i32.const 255))))
        (i64.store offset=$rip align=1
          (i32.const 16777216)
          (i64.add
            (local.get 2)
            (i64.extend_i32_u
              (i32.and
                (i32.shr_u
                  (local.get 14)
                  (i32.const 8))
                (i32.const 8191)))))
        (if  ;; label = @3
          (i32.eqz
            (i32.lt_s
              (local.get 14)
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
            (local.get 14)
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
      (local.set 15
        (i32.add
          (i32.shl
            (i32.and
              (i32.xor
                (local.tee 15
                  (i32.wrap_i64
                    (local.get 3)))
                (i32.shr_u
                  (local.get 15)
                  (i32.const 12)))
              (i32.const 8191))
            (i32.const 4))
          (i32.const 16777216)))
      (if (result i32)  ;; label = @2
        (i64.eq
          (i64.load offset=229376 align=1
            (local.get 15))
          (i64.xor
            (local.get 3)
            (i64.const 13792273858822144)))
        (then
          (i32.load offset=229388 align=1
            (local.get 15)))
        (else
          (call 0
            (i32.const 16777216))))
      (return_call_indirect (type 0)))
    (local.get 0)
    (local.get 1)
    (local.set 15
      (i32.add
        (i32.shl
          (i32.and
            (i32.xor
              (local.tee 15
                (i32.wrap_i64
                  (local.get 3)))
              (i32.shr_u
                (local.get 15)
                (i32.const 12)))
            (i32.const 8191))
          (i32.const 4))
        (i32.const 16777216)))
    (if (result i32)  ;; label = @1
      (i64.eq
        (i64.load offset=229376 align=1
          (local.get 15))
        (i64.xor
          (local.get 3)
          (i64.shl
            (i64.extend_i32_u
              (i32.load offset=$mode align=1
                (i32.const 16777216)))
            (i64.const 48))))
      (then
        (i32.load offset=229388 align=1
          (local.get 15)))
      (else
        (call 0
          (i32.const 16777216))))
    (return_call_indirect (type 0))
    (unreachable))
  (global (;0;) (mut i32) (i32.const 0))
  (export "g0" (global 0))
  (export "r0" (func 1)))
