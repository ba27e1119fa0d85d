; SSE2 over a buffer of 64 KiB: integer lanes (add, multiply, compare, shift, shuffle, pack) and single-precision lanes.
%define BSS 65536
%include "program.inc"

main:   mov rbx, SEED
        xor ecx, ecx
.fill:  random rbx, rdx
        mov [bss + rcx], rbx
        add ecx, 8
        cmp ecx, 65536
        jb .fill
        movdqa xmm7, [rel weights]
        movaps xmm6, [rel scale]
        pxor xmm0, xmm0
        xorps xmm5, xmm5
        mov ebp, 5_000
.pass:  xor ecx, ecx
.next:  movdqa xmm1, [bss + rcx]
        movdqu xmm2, [bss + rcx + 8]
        paddd xmm1, xmm0
        pmaddwd xmm2, xmm7
        movdqa xmm3, xmm1
        psrld xmm3, 7
        pxor xmm1, xmm3
        pcmpgtd xmm3, xmm2
        pand xmm3, xmm7
        pshufd xmm2, xmm2, 0x4E
        paddd xmm0, xmm2
        psubd xmm0, xmm3
        punpcklbw xmm3, xmm1
        pxor xmm0, xmm3
        cvtdq2ps xmm4, xmm1
        mulps xmm4, xmm6
        addps xmm5, xmm4
        add ecx, 16
        cmp ecx, 65520
        jb .next
        dec ebp
        jnz .pass
        cvttps2dq xmm5, xmm5
        pxor xmm0, xmm5
        movq rax, xmm0
        psrldq xmm0, 8
        movq rdx, xmm0
        xor rax, rdx
        ret

        align 16
weights: dw 3, -5, 7, -11, 13, -17, 19, -23
scale:  dd 0.000001, 0.000002, 0.000003, 0.000004

        program_end
