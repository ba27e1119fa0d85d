; Freshly written code, as a compiler at run time leaves it: writes a function of some 100 instructions whose constants
; differ each time, and runs it a few times. Every sixteenth time a function is changed while its page is running.
%define BSS 0
%include "program.inc"
%define SLOT 512
%define SLOTS 32

main:   mov esi, SLOT * SLOTS
        mov edx, PROT_READ_WRITE_EXEC
        call map
        mov r12, rax
        mov rbx, SEED
        xor r13d, r13d                  ; checksum
        mov ebp, 20_000
.next:  mov edi, ebp
        and edi, SLOTS - 1
        imul edi, edi, SLOT
        add rdi, r12
        mov r14, rdi
        mov ecx, 48
.write: random rbx, rdx
        mov byte [rdi], 0x05            ; add eax, imm32
        mov [rdi + 1], ebx
        mov word [rdi + 5], 0xC8C1      ; ror eax, imm8
        mov byte [rdi + 7], bh
        add rdi, 8
        dec ecx
        jnz .write
        mov byte [rdi], 0xC3            ; ret
        mov ecx, 4
        mov eax, ebp
.run:   call r14
        dec ecx
        jnz .run
        add r13, rax
        rol r13, 1
        test ebp, 15
        jnz .go
        mov [r14 + 1], ebp
        call r14
        xor r13, rax
.go:    dec ebp
        jnz .next
        mov rax, r13
        ret

        program_end
