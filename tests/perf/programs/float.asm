; Scalar floating point: add, subtract, multiply, divide, square root, conversions and comparisons in double precision,
; and a little single precision. The inexact flag is set from the first operation on, as in any program.
%define BSS 0
%include "program.inc"

main:   movsd xmm0, [x]
        movsd xmm1, [y]
        pxor xmm7, xmm7
        mov ecx, 15_000_000
.next:  movsd xmm2, [one]
        subsd xmm2, xmm0
        mulsd xmm2, xmm0
        mulsd xmm2, [rate]              ; the logistic map
        movapd xmm0, xmm2
        addsd xmm1, xmm0
        movapd xmm3, xmm1
        divsd xmm3, [divisor]
        sqrtsd xmm4, xmm3
        addsd xmm7, xmm4
        cvttsd2si eax, xmm7
        cvtsi2sd xmm5, eax
        ucomisd xmm5, xmm7
        ja .skip
        cvtsd2ss xmm6, xmm7
        mulss xmm6, [half]
        cvtss2sd xmm6, xmm6
        movapd xmm7, xmm6
.skip:  dec ecx
        jnz .next
        movq rax, xmm7
        movq rdx, xmm1
        xor rax, rdx
        ret

        align 8
x:      dq 0.3141592653589793
y:      dq 1.0
one:    dq 1.0
rate:   dq 3.99
divisor: dq 1.7
half:   dd 0.5

        program_end
