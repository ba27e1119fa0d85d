; Rewrites a buffer for ever, and looks whether it is as it was written: word i of generation g is g * (2 i + 1) * MULTIPLIER. A copy
; of its memory that is not of one moment is found in the next round. Prints the generation of each eighth round, and BAD and the
; generation when a word is another.
%ifndef SIZE_MIB
%define SIZE_MIB 64
%endif
%define SIZE (SIZE_MIB * 1048576)
%define MULTIPLIER 0x9E3779B97F4A7C15
%define BSS 4096
%include "program.inc"

main:   mov esi, SIZE
        mov edx, PROT_READ_WRITE
        call map
        mov rbp, rax                    ; the buffer
        xor r12d, r12d                  ; the generation that is in it
        mov r14, MULTIPLIER
.round: mov r8, r12
        imul r8, r14                    ; what is there
        lea r9, [r8 + r8]               ; and its step
        lea r10, [r8 + r14]             ; what comes there
        lea r11, [r10 + r10]
        mov rdi, rbp
        mov ecx, SIZE / 8
.word:  cmp [rdi], r8
        jne .bad
        mov [rdi], r10
        add r8, r9
        add r10, r11
        add rdi, 8
        dec ecx
        jnz .word
        inc r12
        test r12d, 7
        jnz .round
        mov rax, r12
        call print
        jmp .round
.bad:   mov rax, r12
        call print
        mov eax, SYS_write
        mov edi, 1
        mov esi, bad
        mov edx, 4
        syscall
        mov edi, 1
        jmp exit

; RAX in hexadecimal.
print:  lea rdi, [rel text + 15]
        mov ecx, 16
.digit: mov edx, eax
        and edx, 15
        mov dl, [digits + rdx]
        mov [rdi], dl
        dec rdi
        shr rax, 4
        dec ecx
        jnz .digit
        mov eax, SYS_write
        mov edi, 1
        mov esi, text
        mov edx, 17
        syscall
        ret

bad:    db 'BAD', 10
        program_end
