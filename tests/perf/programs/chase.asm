; A chain of pointers in random order through 16 MiB: each load waits for the one before, most miss the TLB.
%define COUNT 262144
%define BSS COUNT * 64
%include "program.inc"

main:   ; One cycle through all nodes (Sattolo's algorithm); the index stands in each node's second word meanwhile.
        xor ecx, ecx
.index: mov eax, ecx
        shl eax, 6
        mov [bss + rax + 8], rcx
        inc ecx
        cmp ecx, COUNT
        jb .index
        mov rbx, SEED
        mov ecx, COUNT - 1
.swap:  random rbx, rdx
        mov eax, ebx
        xor edx, edx
        div ecx                         ; EDX: below ECX
        shl edx, 6
        mov esi, ecx
        shl esi, 6
        mov rdi, [bss + rdx + 8]
        xchg rdi, [bss + rsi + 8]
        mov [bss + rdx + 8], rdi
        dec ecx
        jnz .swap
        xor ecx, ecx
.link:  mov eax, ecx
        shl eax, 6
        mov rdx, [bss + rax + 8]
        shl edx, 6
        add edx, bss
        mov [bss + rax], rdx
        inc ecx
        cmp ecx, COUNT
        jb .link
        mov esi, bss
        xor eax, eax
        mov ecx, 6_000_000
.next:  mov rsi, [rsi]
        add rax, rsi
        rol rax, 1
        dec ecx
        jnz .next
        ret

        program_end
