; Arithmetic in registers: add, subtract, shift, rotate, multiply, divide.
%define BSS 0
%include "program.inc"

main:   mov rax, SEED
        mov rbx, 0x9E3779B97F4A7C15
        mov ecx, 200_000_000
.next:  imul rax, rbx
        add rax, rcx
        mov rdx, rax
        shr rdx, 29
        xor rax, rdx
        rol rbx, 5
        lea rsi, [rax + rbx * 2 + 7]
        sub rbx, rdx
        mov edi, esi
        and edi, 0xFFF
        add rbx, rdi
        not rsi
        xor rbx, rsi
        test cl, 63
        jnz .go
        xor edx, edx
        lea rdi, [rbx + 3]
        or rdi, 1
        div rdi
        xor rax, rdx
        or rax, 1
.go:    dec ecx
        jnz .next
        xor rax, rbx
        ret

        program_end
