;; a sum of products
;; start: mov esi, 0x200000  be 00 00 20 00
;; mov ecx, 1000             b9 e8 03 00 00
;; pxor xmm0, xmm0           66 0f ef c0
;; again: movsd xmm1, [rsi]  f2 0f 10 0e
;; mulsd xmm1, xmm1          f2 0f 59 c9
;; addsd xmm0, xmm1          f2 0f 58 c1
;; add rsi, 8                48 83 c6 08
;; dec ecx                   ff c9
;; jnz again                 75 ec
;; jmp start                 eb dc
(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i32 i64 i32 i32) (result i32)))
  (type (;2;) (func (param f64 f64 i32) (result f64 i32)))
  (type (;3;) (func (param i32) (result i32)))
  (import "env" "memory" (memory (;0;) 1 65536 shared))
  (import "env" "plain_load" (func (;0;) (type 1)))
  (import "env" "sse.scalar.mul64" (func (;1;) (type 2)))
  (import "env" "sse.scalar.add64" (func (;2;) (type 2)))
  (import "env" "find_region" (func (;3;) (type 3)))
  (import "env" "regions" (table (;0;) 32768 32768 funcref))
  (import "env" "outline" (table (;1;) 0 funcref))
  (func (;4;) (type 0) (param i32 i32) (result i32)
    (local i64 i64 i32 i32 i32 i64 i64 i32 i32 v128 i64 f64 i64 f64 i64 f64 i64 i32 f64 v128 i32 i64 i64 i64 i64 i32 i32)
    (if  ;; label = @1
      (i32.or
        (i32.load offset=$attention align=1
          (i32.const 16777216))
        (i32.lt_s
          (local.get 0)
          (i32.const 10)))
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
        (i64.const 14)))
    (local.set 21
      (v128.load offset=$xmm[0] align=1
        (i32.const 16777216)))
    (local.set 23
      (i64.load offset=$gpr[1] align=1
        (i32.const 16777216)))
    (local.set 11
      (v128.load offset=$xmm[2] align=1
        (i32.const 16777216)))
    (local.set 12
      (i64.load offset=$gpr[6] align=1
        (i32.const 16777216)))
    (local.set 24
      (i64.load offset=$flagResult align=1
        (i32.const 16777216)))
    (local.set 25
      (i64.load offset=$flagA align=1
        (i32.const 16777216)))
    (local.set 26
      (i64.load offset=$flagB align=1
        (i32.const 16777216)))
    (local.set 22
      (i32.and
        (local.tee 27
          (i32.load offset=$flagForm align=1
            (i32.const 16777216)))
        (i32.const 1)))
    (local.set 27
      (i32.shr_u
        (local.get 27)
        (i32.const 1)))
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
                      (local.set 7
                        (local.get 12))
                      (if  ;; label = @10
                        (i32.ne
                          (local.tee 4
                            (i32.or
                              (i32.and
                                (i32.wrap_i64
                                  (i64.load offset=$cr0 align=1
                                    (i32.const 16777216)))
                                (i32.const 12))
                              (i32.xor
                                (i32.and
                                  (i32.wrap_i64
                                    (i64.load offset=$cr4 align=1
                                      (i32.const 16777216)))
                                  (i32.const 512))
                                (i32.const 512))))
                          (i32.const 0))
                        (then
                          (local.set 5
                            (i32.const 3584))
                          (br_if 2 (;@8;)
                            (i32.ne
                              (i32.and
                                (local.get 4)
                                (i32.const 516))
                              (i32.const 0)))
                          (local.set 5
                            (i32.const 3584))
                          (br 2 (;@8;))))
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
                      (local.set 4
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
                            (local.set 5
                              (i32.const 3584))
                            (br_if 2 (;@8;)
                              (i32.eqz
                                (local.tee 10
                                  (call 0
                                    (i32.const 16777216)
                                    (local.get 8)
                                    (i32.const 8)
                                    (i32.const 0)))))
                            (local.get 10))))
                      (local.set 11
                        (i64x2.replace_lane 0
                          (v128.const i32x4 0x00000000 0x00000000 0x00000000 0x00000000)
                          (i64.load align=1
                            (local.get 4))))
                      (local.set 14
                        (i64.reinterpret_f64
                          (local.tee 13
                            (f64x2.extract_lane 0
                              (local.get 11)))))
                      (local.set 16
                        (i64.reinterpret_f64
                          (local.tee 15
                            (f64x2.extract_lane 0
                              (local.get 11)))))
                      (local.set 18
                        (i64.reinterpret_f64
                          (local.tee 17
                            (f64.mul
                              (local.get 15)
                              (local.get 13)))))
                      (block  ;; label = @10
                        (block  ;; label = @11
                          (br_if 0 (;@11;)
                            (i32.eqz
                              (local.tee 19
                                (i32.eq
                                  (i32.and
                                    (i32.load offset=$mxcsr align=1
                                      (i32.const 16777216))
                                    (i32.const 32672))
                                  (i32.const 8096)))))
                          (br_if 0 (;@11;)
                            (i64.eqz
                              (i64.shr_u
                                (i64.sub
                                  (i64.shl
                                    (local.get 16)
                                    (i64.const 1))
                                  (i64.const 1))
                                (i64.const 53))))
                          (br_if 0 (;@11;)
                            (i64.eqz
                              (i64.shr_u
                                (i64.sub
                                  (i64.shl
                                    (local.get 14)
                                    (i64.const 1))
                                  (i64.const 1))
                                (i64.const 53))))
                          (if  ;; label = @12
                            (i64.ge_u
                              (i64.sub
                                (i64.shr_u
                                  (i64.shl
                                    (local.get 18)
                                    (i64.const 1))
                                  (i64.const 53))
                                (i64.const 2))
                              (i64.const 2045))
                            (then
                              (br_if 1 (;@11;)
                                (i64.ne
                                  (i64.shl
                                    (local.get 18)
                                    (i64.const 1))
                                  (i64.const 0)))
                              (br_if 1 (;@11;)
                                (i32.and
                                  (i64.ne
                                    (i64.shl
                                      (local.get 16)
                                      (i64.const 1))
                                    (i64.const 0))
                                  (i64.ne
                                    (i64.shl
                                      (local.get 14)
                                      (i64.const 1))
                                    (i64.const 0))))))
                          (local.set 20
                            (local.get 17))
                          (br 1 (;@10;)))
                        (call 1
                          (local.get 15)
                          (local.get 13)
                          (i32.load offset=$mxcsr align=1
                            (i32.const 16777216)))
                        (local.set 4)
                        (local.set 17)
                        (i32.store offset=$mxcsr align=1
                          (i32.const 16777216)
                          (i32.and
                            (local.get 4)
                            (i32.const 65535)))
                        (if  ;; label = @11
                          (i32.lt_s
                            (local.get 4)
                            (i32.const 0))
                          (then
                            (local.set 16
                              (i64.load offset=$cr4 align=1
                                (i32.const 16777216)))
                            (local.set 5
                              (i32.const 4609))
                            (br_if 3 (;@8;)
                              (i32.eqz
                                (i32.and
                                  (i32.wrap_i64
                                    (local.get 16))
                                  (i32.const 1024))))
                            (local.set 5
                              (i32.const 4609))
                            (br 3 (;@8;))))
                        (local.set 20
                          (local.get 17)))
                      (local.set 11
                        (f64x2.replace_lane 0
                          (local.get 11)
                          (local.get 20)))
                      (local.set 13
                        (f64x2.extract_lane 0
                          (local.get 11)))
                      (local.set 14
                        (i64.reinterpret_f64
                          (local.tee 17
                            (f64.add
                              (local.tee 15
                                (f64x2.extract_lane 0
                                  (local.get 21)))
                              (local.get 13)))))
                      (block  ;; label = @10
                        (block  ;; label = @11
                          (br_if 0 (;@11;)
                            (i32.eqz
                              (local.get 19)))
                          (br_if 0 (;@11;)
                            (i64.eqz
                              (i64.shr_u
                                (i64.sub
                                  (i64.shl
                                    (i64.reinterpret_f64
                                      (local.get 15))
                                    (i64.const 1))
                                  (i64.const 1))
                                (i64.const 53))))
                          (br_if 0 (;@11;)
                            (i64.eqz
                              (i64.shr_u
                                (i64.sub
                                  (i64.shl
                                    (i64.reinterpret_f64
                                      (local.get 13))
                                    (i64.const 1))
                                  (i64.const 1))
                                (i64.const 53))))
                          (if  ;; label = @12
                            (i64.ge_u
                              (i64.sub
                                (i64.shr_u
                                  (i64.shl
                                    (local.get 14)
                                    (i64.const 1))
                                  (i64.const 53))
                                (i64.const 2))
                              (i64.const 2045))
                            (then
                              (br_if 1 (;@11;)
                                (i64.ne
                                  (i64.shl
                                    (local.get 14)
                                    (i64.const 1))
                                  (i64.const 0)))))
                          (local.set 20
                            (local.get 17))
                          (br 1 (;@10;)))
                        (call 2
                          (local.get 15)
                          (local.get 13)
                          (i32.load offset=$mxcsr align=1
                            (i32.const 16777216)))
                        (local.set 4)
                        (local.set 17)
                        (i32.store offset=$mxcsr align=1
                          (i32.const 16777216)
                          (i32.and
                            (local.get 4)
                            (i32.const 65535)))
                        (if  ;; label = @11
                          (i32.lt_s
                            (local.get 4)
                            (i32.const 0))
                          (then
                            (local.set 14
                              (i64.load offset=$cr4 align=1
                                (i32.const 16777216)))
                            (local.set 5
                              (i32.const 5634))
                            (br_if 3 (;@8;)
                              (i32.eqz
                                (i32.and
                                  (i32.wrap_i64
                                    (local.get 14))
                                  (i32.const 1024))))
                            (local.set 5
                              (i32.const 5634))
                            (br 3 (;@8;))))
                        (local.set 20
                          (local.get 17)))
                      (local.set 21
                        (f64x2.replace_lane 0
                          (local.get 21)
                          (local.get 20)))
                      (local.set 12
                        (i64.add
                          (local.tee 14
                            (local.get 12))
                          (i64.const 8)))
                      (local.set 22
                        (i64.lt_u
                          (i64.add
                            (local.get 14)
                            (i64.const 8))
                          (local.get 14)))
                      (local.set 23
                        (i64.and
                          (i64.add
                            (local.tee 14
                              (i64.and
                                (local.get 23)
                                (i64.const 4294967295)))
                            (i64.const -1))
                          (i64.const 4294967295)))
                      (local.set 24
                        (i64.extend32_s
                          (local.tee 16
                            (i64.add
                              (local.get 14)
                              (i64.const -1)))))
                      (local.set 25
                        (i64.shl
                          (i64.extend_i32_u
                            (i64.eq
                              (i64.shl
                                (local.get 14)
                                (i64.const 32))
                              (i64.const -9223372036854775808)))
                          (i64.const 63)))
                      (local.set 26
                        (i64.extend_i32_u
                          (i32.shl
                            (i32.and
                              (i32.wrap_i64
                                (i64.shr_u
                                  (i64.xor
                                    (local.get 14)
                                    (local.get 16))
                                  (i64.const 4)))
                              (i32.const 1))
                            (i32.const 4))))
                      (local.set 27
                        (i32.const 0))
                      (local.set 28
                        (i32.eqz
                          (i64.eqz
                            (local.get 24))))
                      (local.set 0
                        (i32.sub
                          (local.get 0)
                          (i32.const 6)))
                      (if  ;; label = @10
                        (local.get 28)
                        (then
                          (if  ;; label = @11
                            (i32.or
                              (i32.load offset=$attention align=1
                                (i32.const 16777216))
                              (i32.lt_s
                                (local.get 0)
                                (i32.const 10)))
                            (then
                              (local.set 5
                                (i32.const -2147480064))
                              (br 3 (;@8;))))
                          (br 1 (;@9;)))
                        (else
                          (local.set 0
                            (i32.sub
                              (local.get 0)
                              (i32.const 1)))
                          (local.set 12
                            (i64.and
                              (i64.const 2097152)
                              (i64.const 4294967295)))
                          (local.set 23
                            (i64.and
                              (i64.const 1000)
                              (i64.const 4294967295)))
                          (if  ;; label = @11
                            (i32.ne
                              (local.tee 4
                                (i32.or
                                  (i32.and
                                    (i32.wrap_i64
                                      (i64.load offset=$cr0 align=1
                                        (i32.const 16777216)))
                                    (i32.const 12))
                                  (i32.xor
                                    (i32.and
                                      (i32.wrap_i64
                                        (i64.load offset=$cr4 align=1
                                          (i32.const 16777216)))
                                      (i32.const 512))
                                    (i32.const 512))))
                              (i32.const 0))
                            (then
                              (local.set 5
                                (i32.const 2562))
                              (br_if 3 (;@8;)
                                (i32.ne
                                  (i32.and
                                    (local.get 4)
                                    (i32.const 516))
                                  (i32.const 0)))
                              (local.set 5
                                (i32.const 2562))
                              (br 3 (;@8;))))
                          (local.set 21
                            (v128.xor
                              (local.get 21)
                              (local.get 21)))
                          (local.set 0
                            (i32.sub
                              (local.get 0)
                              (i32.const 3)))
                          (if  ;; label = @11
                            (i32.or
                              (i32.load offset=$attention align=1
                                (i32.const 16777216))
                              (i32.lt_s
                                (local.get 0)
                                (i32.const 10)))
                            (then
                              (local.set 5
                                (i32.const -2147480064))
                              (br 3 (;@8;))))
                          (br 1 (;@9;))))))
                  (i64.store offset=$gpr[1] align=1
                    (i32.const 16777216)
                    (local.get 23)))
                (i64.store offset=$flagResult align=1
                  (i32.const 16777216)
                  (local.get 24))
                (i64.store offset=$flagA align=1
                  (i32.const 16777216)
                  (local.get 25))
                (i64.store offset=$flagB align=1
                  (i32.const 16777216)
                  (local.get 26))
                (i32.store offset=$flagForm align=1
                  (i32.const 16777216)
                  (i32.add
                    (local.get 22)
                    (i32.shl
                      (local.get 27)
                      (i32.const 1)))))
              (i64.store offset=$gpr[6] align=1
                (i32.const 16777216)
                (local.get 12)))
            (v128.store offset=$xmm[0] align=1
              (i32.const 16777216)
              (local.get 21)))
          (v128.store offset=$xmm[2] align=1
            (i32.const 16777216)
            (local.get 11)))
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
          (call 3
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
        (call 3
          (i32.const 16777216))))
    (return_call_indirect (type 0))
    (unreachable))
  (global (;0;) (mut i32) (i32.const 0))
  (export "g0" (global 0))
  (export "r0" (func 4)))
