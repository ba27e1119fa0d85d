; Context switches: two processes hand a byte to and fro through two pipes.
%define BSS 4096
%include "program.inc"
%define there bss
%define back bss + 8
%define byte_here bss + 16

main:   mov eax, SYS_pipe
        mov edi, there
        syscall
        test rax, rax
        js failed
        mov eax, SYS_pipe
        mov edi, back
        syscall
        test rax, rax
        js failed
        mov ebp, 20_000
        xor ebx, ebx
        mov eax, SYS_fork
        syscall
        test rax, rax
        js failed
        jz .child
.ping:  mov [byte_here], bpl
        mov edi, [there + 4]
        call put
        mov edi, [back]
        call get
        movzx eax, byte [byte_here]
        add rbx, rax
        rol rbx, 1
        dec ebp
        jnz .ping
        mov rax, rbx
        ret
.child: mov edi, [there]
        call get
        add byte [byte_here], 7
        mov edi, [back + 4]
        call put
        dec ebp
        jnz .child
        xor edi, edi
        jmp exit

get:    mov eax, SYS_read
        jmp transfer
put:    mov eax, SYS_write
transfer:
        mov esi, byte_here
        mov edx, 1
        syscall
        cmp rax, 1
        jne failed
        ret

        program_end
