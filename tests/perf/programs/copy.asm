; Memory copy and fill by string instructions: long runs, and many short ones of odd lengths.
%define SIZE 1048576
%define BSS 2 * SIZE + 4096
%include "program.inc"

main:   mov edi, bss
        mov rax, SEED
        mov ecx, SIZE / 8
        rep stosq
        mov ebp, 40
.long:  mov esi, bss
        mov edi, bss + SIZE
        mov ecx, SIZE / 8
        rep movsq
        mov esi, bss + SIZE
        lea edi, [bss + rbp]
        mov ecx, SIZE - 4096
        rep movsb
        dec ebp
        jnz .long
        mov ebp, 500_000
.short: mov esi, ebp
        and esi, 0xFFFF
        mov edi, ebp
        shr edi, 3
        and edi, 0xFFFF
        mov ecx, ebp
        and ecx, 127
        add esi, bss
        add edi, bss + SIZE
        rep movsb
        dec ebp
        jnz .short
        mov ebp, 250_000
.fill:  mov edi, ebp
        and edi, 0xFFFF
        mov ecx, ebp
        and ecx, 63
        mov eax, ebp
        add edi, bss
        rep stosb
        dec ebp
        jnz .fill
        xor eax, eax
        xor ecx, ecx
.sum:   rol rax, 3
        xor rax, [bss + rcx]
        add rax, [bss + SIZE + rcx]
        add ecx, 8
        cmp ecx, SIZE
        jb .sum
        ret

        program_end
