;; base, index, scale, displacement, RIP
;; start: mov ebx, 0x200000  bb 00 00 20 00
;; mov ecx, 2                b9 02 00 00 00
;; mov rax, [rbx+rcx*8+16]   48 8b 44 cb 10
;; mov eax, [ebx+ecx]        67 8b 04 0b
;; mov rdx, [rel start]      48 8b 15 e6 ff ff ff
;; mov rsi, [0x200000]       48 8b 34 25 00 00 20 00
;; jmp start                 eb dc
(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i32 i64 i32 i32) (result i32)))
  (type (;2;) (func (param i32) (result i32)))
  (import "env" "memory" (memory (;0;) 1 65536 shared))
  (import "env" "plain_load" (func (;0;) (type 1)))
  (import "env" "find_region" (func (;1;) (type 2)))
  (import "env" "regions" (table (;0;) 32768 32768 funcref))
  (import "env" "outline" (table (;1;) 0 funcref))
  (func (;2;) (type 0) (param i32 i32) (result i32)
    (local i64 i64 i64 i64 i32 i64 i64 i32 i32 i32 i32 i64 i64 i64)
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
    (local.set 13
      (i64.load align=1
        (i32.const 16777216)))
    (local.set 14
      (i64.load offset=$gpr[2] align=1
        (i32.const 16777216)))
    (local.set 15
      (i64.load offset=$gpr[6] align=1
        (i32.const 16777216)))
    (local.set 6
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
                  (block  ;; label = @8
                    (loop  ;; label = @9
                      (local.set 4
                        (i64.and
                          (i64.const 2097152)
                          (i64.const 4294967295)))
                      (local.set 5
                        (i64.and
                          (i64.const 2)
                          (i64.const 4294967295)))
                      (local.set 7
                        (i64.add
                          (i64.add
                            (local.get 4)
                            (i64.shl
                              (local.get 5)
                              (i64.const 3)))
                          (i64.const 16)))
                      (local.set 9
                        (i32.add
                          (local.get 6)
                          (i32.and
                            (i32.shr_u
                              (i32.wrap_i64
                                (local.tee 8
                                  (local.get 7)))
                              (i32.const 8))
                            (i32.const 16368))))
                      (local.set 13
                        (i64.load align=1
                          (local.tee 12
                            (if (result i32)  ;; label = @10
                              (i64.gt_u
                                (i64.sub
                                  (i64.load offset=16842752 align=1
                                    (local.get 9))
                                  (local.get 8))
                                (i64.const -4090))
                              (then
                                (i32.add
                                  (i32.wrap_i64
                                    (local.get 8))
                                  (i32.load offset=16842760 align=1
                                    (local.get 9))))
                              (else
                                (local.set 10
                                  (i32.const 2562))
                                (br_if 2 (;@8;)
                                  (i32.eqz
                                    (local.tee 11
                                      (call 0
                                        (i32.const 16777216)
                                        (local.get 8)
                                        (i32.const 8)
                                        (i32.const 0)))))
                                (local.get 11))))))
                      (local.set 0
                        (i32.sub
                          (local.get 0)
                          (i32.const 4)))
                      (i64.store align=1
                        (i32.const 16777216)
                        (local.get 13))
                      (i64.store offset=$gpr[1] align=1
                        (i32.const 16777216)
                        (local.get 5))
                      (i64.store offset=$gpr[2] align=1
                        (i32.const 16777216)
                        (local.get 14))
                      (i64.store offset=$gpr[3] align=1
                        (i32.const 16777216)
                        (local.get 4))
                      (i64.store offset=$gpr[6] align=1
                        (i32.const 16777216)
                        (local.get 15))
                      (i32.store offset=$budget align=1
                        (i32.const 16777216)
                        (local.get 0))
                      (i32.store offset=$calledRecord align=1
                        (i32.const 16777216)
                        (global.get 0))
                      (i64.store offset=$blockIp align=1
                        (i32.const 16777216)
                        (i64.add
                          (local.get 2)
                          (i64.extend_i32_u
                            (global.get 1))))
                      (if  ;; label = @10
                        (i32.eqz
                          (call_indirect 1 (type 0)
                            (i32.const 16777216)
                            (i32.load offset=$calledRecord align=1
                              (i32.const 16777216))
                            (i32.const 511)))
                        (then
                          (i64.store offset=$rip align=1
                            (i32.const 16777216)
                            (i64.add
                              (local.get 2)
                              (i64.const 19)))))
                      (i32.store offset=$calledRecord align=1
                        (i32.const 16777216)
                        (i32.const 0))
                      (if  ;; label = @10
                        (i32.or
                          (i32.or
                            (i32.load offset=$attention align=1
                              (i32.const 16777216))
                            (i32.and
                              (i32.load offset=$flags align=1
                                (i32.const 16777216))
                              (i32.load offset=$interruptWindow align=1
                                (i32.const 16777216))))
                          (i32.load offset=$unwind align=1
                            (i32.const 16777216)))
                        (then
                          (i64.store offset=$regionExits[4] align=1
                            (i32.const 16777216)
                            (i64.add
                              (i64.load offset=$regionExits[4] align=1
                                (i32.const 16777216))
                              (i64.const 1)))
                          (return
                            (i32.or
                              (local.get 0)
                              (i32.const 1073741824)))))
                      (i32.store offset=$interruptShadow align=1
                        (i32.const 16777216)
                        (i32.const 0))
                      (local.set 3
                        (i64.load offset=$rip align=1
                          (i32.const 16777216)))
                      (if  ;; label = @10
                        (i32.or
                          (i64.ne
                            (local.get 3)
                            (i64.add
                              (local.get 2)
                              (i64.const 19)))
                          (i32.ne
                            (i32.load offset=$mode align=1
                              (i32.const 16777216))
                            (i32.const 49)))
                        (then
                          (br 9 (;@1;))))
                      (local.set 13
                        (i64.load align=1
                          (i32.const 16777216)))
                      (local.set 5
                        (i64.load offset=$gpr[1] align=1
                          (i32.const 16777216)))
                      (local.set 4
                        (i64.load offset=$gpr[3] align=1
                          (i32.const 16777216)))
                      (local.set 6
                        (i32.shl
                          (i32.load offset=$tlbContext align=1
                            (i32.const 16777216))
                          (i32.const 15)))
                      (local.set 7
                        (local.get 2))
                      (local.set 9
                        (i32.add
                          (local.get 6)
                          (i32.and
                            (i32.shr_u
                              (i32.wrap_i64
                                (local.tee 8
                                  (local.get 7)))
                              (i32.const 8))
                            (i32.const 16368))))
                      (local.set 14
                        (i64.load align=1
                          (local.tee 12
                            (if (result i32)  ;; label = @10
                              (i64.gt_u
                                (i64.sub
                                  (i64.load offset=16842752 align=1
                                    (local.get 9))
                                  (local.get 8))
                                (i64.const -4090))
                              (then
                                (i32.add
                                  (i32.wrap_i64
                                    (local.get 8))
                                  (i32.load offset=16842760 align=1
                                    (local.get 9))))
                              (else
                                (local.set 10
                                  (i32.const 4864))
                                (br_if 7 (;@3;)
                                  (i32.eqz
                                    (local.tee 11
                                      (call 0
                                        (i32.const 16777216)
                                        (local.get 8)
                                        (i32.const 8)
                                        (i32.const 0)))))
                                (local.get 11))))))
                      (local.set 7
                        (i64.const 2097152))
                      (local.set 9
                        (i32.add
                          (local.get 6)
                          (i32.and
                            (i32.shr_u
                              (i32.wrap_i64
                                (local.tee 8
                                  (local.get 7)))
                              (i32.const 8))
                            (i32.const 16368))))
                      (local.set 15
                        (i64.load align=1
                          (local.tee 12
                            (if (result i32)  ;; label = @10
                              (i64.gt_u
                                (i64.sub
                                  (i64.load offset=16842752 align=1
                                    (local.get 9))
                                  (local.get 8))
                                (i64.const -4090))
                              (then
                                (i32.add
                                  (i32.wrap_i64
                                    (local.get 8))
                                  (i32.load offset=16842760 align=1
                                    (local.get 9))))
                              (else
                                (local.set 10
                                  (i32.const 6657))
                                (br_if 3 (;@7;)
                                  (i32.eqz
                                    (local.tee 11
                                      (call 0
                                        (i32.const 16777216)
                                        (local.get 8)
                                        (i32.const 8)
                                        (i32.const 0)))))
                                (local.get 11))))))
                      (local.set 0
                        (i32.sub
                          (local.get 0)
                          (i32.const 3)))
                      (if  ;; label = @10
                        (i32.or
                          (i32.load offset=$attention align=1
                            (i32.const 16777216))
                          (i32.lt_s
                            (local.get 0)
                            (i32.const 7)))
                        (then
                          (local.set 10
                            (i32.const -2147483648))
                          (br 2 (;@8;))))
                      (br 0 (;@9;))))
                  (i64.store offset=$gpr[6] align=1
                    (i32.const 16777216)
                    (local.get 15)))
                (i64.store offset=$gpr[2] align=1
                  (i32.const 16777216)
                  (local.get 14)))
              (i64.store align=1
                (i32.const 16777216)
                (local.get 13)))
            (i64.store offset=$gpr[1] align=1
              (i32.const 16777216)
              (local.get 5)))
          (i64.store offset=$gpr[3] align=1
            (i32.const 16777216)
            (local.get 4)))
        (local.set 0
          (i32.sub
            (local.get 0)
            (i32.and
              (local.get 10)
              (i32.const 255))))
        (i64.store offset=$rip align=1
          (i32.const 16777216)
          (i64.add
            (local.get 2)
            (i64.extend_i32_u
              (i32.and
                (i32.shr_u
                  (local.get 10)
                  (i32.const 8))
                (i32.const 8191)))))
        (if  ;; label = @3
          (i32.eqz
            (i32.lt_s
              (local.get 10)
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
            (local.get 10)
            (i32.const 1073741824))
          (then
            (i32.store offset=$splitRecord align=1
              (i32.const 16777216)
              (global.get 2))
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
      (local.set 9
        (i32.add
          (i32.shl
            (i32.and
              (i32.xor
                (local.tee 9
                  (i32.wrap_i64
                    (local.get 3)))
                (i32.shr_u
                  (local.get 9)
                  (i32.const 12)))
              (i32.const 8191))
            (i32.const 4))
          (i32.const 16777216)))
      (if (result i32)  ;; label = @2
        (i64.eq
          (i64.load offset=229376 align=1
            (local.get 9))
          (i64.xor
            (local.get 3)
            (i64.const 13792273858822144)))
        (then
          (i32.load offset=229388 align=1
            (local.get 9)))
        (else
          (call 1
            (i32.const 16777216))))
      (return_call_indirect (type 0)))
    (local.get 0)
    (local.get 1)
    (local.set 9
      (i32.add
        (i32.shl
          (i32.and
            (i32.xor
              (local.tee 9
                (i32.wrap_i64
                  (local.get 3)))
              (i32.shr_u
                (local.get 9)
                (i32.const 12)))
            (i32.const 8191))
          (i32.const 4))
        (i32.const 16777216)))
    (if (result i32)  ;; label = @1
      (i64.eq
        (i64.load offset=229376 align=1
          (local.get 9))
        (i64.xor
          (local.get 3)
          (i64.shl
            (i64.extend_i32_u
              (i32.load offset=$mode align=1
                (i32.const 16777216)))
            (i64.const 48))))
      (then
        (i32.load offset=229388 align=1
          (local.get 9)))
      (else
        (call 1
          (i32.const 16777216))))
    (return_call_indirect (type 0))
    (unreachable))
  (global (;0;) (mut i32) (i32.const 0))
  (global (;1;) (mut i32) (i32.const 0))
  (global (;2;) (mut i32) (i32.const 0))
  (export "g0" (global 0))
  (export "g1" (global 1))
  (export "g2" (global 2))
  (export "r0" (func 2)))
