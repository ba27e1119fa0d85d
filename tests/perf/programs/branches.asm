; Branches that depend on data, calls, returns and jumps through a table.
%define BSS 0
%include "program.inc"

main:   mov rbx, SEED
        xor eax, eax
        mov ecx, 30_000_000
.next:  random rbx, rdx
        mov edx, ebx
        and edx, 7
        jmp [table + rdx * 8]
case0:  test bh, 1
        jz .even
        inc rax
        jmp join
.even:  add rax, 3
        jmp join
case1:  call leaf
        jmp join
case2:  cmp ebx, 0x40000000
        jb .low
        cmp ebx, 0x80000000
        jb .middle
        add rax, 5
        jmp join
.low:   add rax, 7
        jmp join
.middle: sub rax, 2
        jmp join
case3:  call [calls + (1 * 8)]
        jmp join
case4:  mov edx, ebx
        shr edx, 29
.count: add rax, rdx
        dec edx
        jns .count
        jmp join
case5:  bt rbx, 40
        jc case0
        rol rax, 1
        jmp join
case6:  cmp rbx, rax
        jg join
        xor rax, rcx
        jmp join
case7:  call deeper
join:   dec ecx
        jnz main.next
        ret

leaf:   add rax, 11
        ret
deeper: call leaf
        call leaf
        ret

        align 8
table:  dq case0, case1, case2, case3, case4, case5, case6, case7
calls:  dq leaf, deeper

        program_end
