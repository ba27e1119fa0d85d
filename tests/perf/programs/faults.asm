; Page faults: maps memory, touches each page once, unmaps it.
%define PAGES 1024
%define BSS 0
%include "program.inc"

main:   mov ebp, 80
        xor ebx, ebx
.round: mov esi, PAGES * 4096
        mov edx, PROT_READ_WRITE
        call map
        mov r12, rax
        mov ecx, PAGES
.touch: add rbx, [rax]                  ; the zero page first, then a page of its own
        mov [rax + 8], rcx
        add rbx, [rax + 8]
        add rax, 4096
        dec ecx
        jnz .touch
        mov rdi, r12
        mov esi, PAGES * 4096
        mov eax, SYS_munmap
        syscall
        test rax, rax
        js failed
        dec ebp
        jnz .round
        mov rax, rbx
        ret

        program_end
