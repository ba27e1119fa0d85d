; The launcher of sandboxed processes: reads a script of system calls from descriptor 3, makes them, puts each one's result
; in its place, and executes the program that its arguments name, with the same environment. What is called, and why, says
; script.ts; here is no policy. A static executable without any library: `nasm -f bin -o launcher launcher.asm`.
; The bytes stand in launcher.ts; launcher.test.ts assembles them again where nasm is.
;
;     launcher PROGRAM [ARGUMENT...] 3< script
;
; A script lies at SCRIPT: a record of 64 bytes whose first word is how many records follow, then these:
;     i64 number, replaced by the result; u64 address that gets the result too, or 0; u64 arguments, six.
; Addresses are absolute: the executable is not position-independent, and SCRIPT is where it always is.

bits 64
BASE equ 0x400000
SCRIPT equ 0x600000
ROOM equ 0x100000
INPUT equ 3
SYS_READ equ 0
SYS_CLOSE equ 3
SYS_EXECVE equ 59
SYS_EXIT equ 60
CANNOT_EXECUTE equ 126

org BASE

elf:                                    ; System V ABI, 64-bit executable, two segments
        db 0x7f, 'ELF', 2, 1, 1, 0
        dq 0
        dw 2, 62
        dd 1
        dq start
        dq program - elf
        dq 0
        dd 0
        dw 64, 56, 3, 0, 0, 0
program:
        dd 1, 5                         ; these bytes: read and execute
        dq 0, BASE, BASE, end - elf, end - elf, 0x1000
        dd 1, 6                         ; the script: read and write, zero at first
        dq 0, SCRIPT, SCRIPT, 0, ROOM, 0x1000
        dd 0x6474e551, 6                ; a stack that is not executable (PT_GNU_STACK)
        dq 0, 0, 0, 0, 0, 16

start:
        mov r12d, SCRIPT
.read:
        xor eax, eax                    ; read(INPUT, r12, rest)
        mov edi, INPUT
        mov rsi, r12
        mov edx, SCRIPT + ROOM
        sub edx, r12d
        jz .taken
        syscall
        test rax, rax
        jle .taken
        add r12, rax
        jmp .read
.taken:
        mov eax, SYS_CLOSE
        mov edi, INPUT
        syscall
        mov r12d, SCRIPT
        mov rbx, [r12]
.next:
        add r12, 64
        dec rbx
        js .done
        mov rax, [r12]
        mov r13, [r12 + 8]
        mov rdi, [r12 + 16]
        mov rsi, [r12 + 24]
        mov rdx, [r12 + 32]
        mov r10, [r12 + 40]
        mov r8, [r12 + 48]
        mov r9, [r12 + 56]
        syscall
        mov [r12], rax
        test r13, r13
        jz .next
        mov [r13], rax
        jmp .next
.done:
        mov rcx, [rsp]                  ; argc; argv from rsp + 8, the environment behind its null
        lea rdx, [rsp + rcx * 8 + 16]
        lea rsi, [rsp + 16]
        mov rdi, [SCRIPT + 8]           ; the program's path: in the script, where the filter may know its address
        mov eax, SYS_EXECVE
        syscall
        mov eax, SYS_EXIT
        mov edi, CANNOT_EXECUTE
        syscall
end:
