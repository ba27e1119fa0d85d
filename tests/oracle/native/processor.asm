; The native side of the differential oracle: a static ELF64 executable that runs instruction bytes on the host's own
; processor. Cases arrive on standard input, results leave on standard output (layouts: layout.inc). It is
; assembled by assemble.ts with `nasm -f bin`; image.ts holds the resulting bytes.
;
; - The case's code and data lie below 2 GiB; everything of ours lies at BASE, far above 4 GiB: 32-bit code cannot reach
;   it and 64-bit code hits it only by naming a 47-bit address.
; - One shared mapping is seen twice: read-execute and read-write where the case sees it, read-write (ALIAS) for us.
; - A case is entered with IRETQ, which loads RFLAGS, CS, RIP, SS and RSP at once and serializes (the code was written
;   through another linear address: SDM volume 3, 9.1.3). It leaves by an exception, hence by a signal: the filler around
;   the code is INT3. The handler never returns: it reports from the signal frame and goes on with the next case.
; - A profiling timer (processor time, so a loaded host does not matter) ends endless loops. A case that is merely
;   interrupted by it is started again from its first state.
; - A seccomp filter turns every system call whose SYSCALL instruction is not ours into SIGSYS.

bits 64
default rel

%include "layout.inc"

section .text start=0 vstart=BASE
text_start:
        db 0x7F, 'ELF', 2, 1, 1, 0      ; ELF64, little endian
        dq 0
        dw 2, 62                        ; ET_EXEC, EM_X86_64
        dd 1
        dq start
        dq program_headers - text_start
        dq 0
        dd 0
        dw 64, 56, 3, 0, 0, 0
program_headers:
        dd 1, 5                         ; PT_LOAD, read and execute
        dq 0, BASE, BASE, text_size, text_size, 0x1000
        dd 1, 6                         ; PT_LOAD, read and write
        dq 0, VARIABLES, VARIABLES, 0, variables_size, 0x1000
        dd 0x6474E551, 6                ; PT_GNU_STACK
        dq 0, 0, 0, 0, 0, 16

%include "start.inc"

; ------------------------------------------------------------------------------------------------- the pipe's loop

next_case:
        mov rbx, [in_pointer]
        mov rax, [in_end]
        sub rax, rbx
        cmp rax, 8
        jb more_input
        mov ecx, [rbx + CASE_LENGTH]
        mov edi, EXIT_PROTOCOL
        cmp ecx, CASE_LARGEST
        ja exit
        cmp ecx, CASE_CODE
        jb exit
        cmp rax, rcx
        jb more_input
        lea rax, [out_buffer + OUT_SIZE - RESULT_LARGEST]
        cmp [out_pointer], rax
        jbe .room
        call flush
.room:
        mov dword [ticks], 0
        jmp run_case

more_input:
        call flush
        mov rsi, [in_pointer]           ; an unfinished case moves to the buffer's front
        mov rcx, [in_end]
        sub rcx, rsi
        lea rdi, [in_buffer]
        mov [in_pointer], rdi
        rep movsb
        mov [in_end], rdi
.again:
        mov rsi, [in_end]
        lea rdx, [in_buffer + IN_SIZE]
        sub rdx, rsi
        xor edi, edi
        mov eax, SYS_READ
        syscall
        cmp rax, -4                     ; EINTR
        je .again
        xor edi, edi
        test rax, rax
        jle exit
        add [in_end], rax
        jmp next_case

flush:
        lea r12, [out_buffer]
.again:
        mov rdx, [out_pointer]
        sub rdx, r12
        jz .done
        mov rsi, r12
        mov edi, 1
        mov eax, SYS_WRITE
        syscall
        cmp rax, -4
        je .again
        mov edi, EXIT_PROTOCOL
        test rax, rax
        js exit
        add r12, rax
        jmp .again
.done:
        lea rax, [out_buffer]
        mov [out_pointer], rax
        ret

exit:
        mov eax, SYS_EXIT_GROUP
        syscall
        hlt

; ------------------------------------------------------------------------------------------------------ one case

run_case:                               ; RBX: the case
        mov eax, [rbx + CASE_SEED]
        cmp eax, [seed]
        je .filled
        mov [seed], eax
        lea rdi, [base]                 ; the pattern: xorshift32 (Marsaglia, 2003), one step for each dword
        mov ecx, DATA_SIZE / 4
.pattern:
        mov edx, eax
        shl edx, 13
        xor eax, edx
        mov edx, eax
        shr edx, 17
        xor eax, edx
        mov edx, eax
        shl edx, 5
        xor eax, edx
        stosd
        loop .pattern
        lea rsi, [base]
        lea rdi, [pristine]
        mov ecx, DATA_SIZE / 8
        rep movsq
        lea rsi, [base]
        mov rdi, ALIAS_DATA
        mov ecx, DATA_SIZE / 8
        rep movsq
.filled:
        lea rsi, [rbx + CASE_CODE]
        movzx eax, word [rbx + CASE_OFFSET]
        movzx ecx, word [rbx + CASE_CODE_SIZE]
        lea edx, [eax + ecx]
        mov edi, EXIT_PROTOCOL
        cmp edx, CODE_SIZE
        ja exit
        mov rdi, ALIAS_CODE
        add rdi, rax
        rep movsb
        movzx r9d, word [rbx + CASE_PATCHES]
        test r9d, r9d
        jz .patched
.patch:
        add rsi, 7
        and rsi, -8
        lodsd
        mov r8d, eax
        lodsd
        mov ecx, eax
        lea rax, [r8 + rcx]
        mov edi, EXIT_PROTOCOL
        cmp rax, DATA_SIZE
        ja exit
        mov r10, rsi
        mov r11d, ecx
        mov rdi, ALIAS_DATA
        add rdi, r8
        rep movsb
        mov rsi, r10
        mov ecx, r11d
        lea rdi, [pristine]
        add rdi, r8
        rep movsb
        dec r9d
        jnz .patch
.patched:
%assign i 0
%rep FX_SIZE / 16
        movups xmm0, [rbx + CASE_FX + i]
        movaps [fx + i], xmm0
%assign i i + 16
%endrep
%assign i 0
%rep 8
        movups xmm0, [rbx + CASE_GPRS + i]
        movaps [gprs + i], xmm0
%assign i i + 16
%endrep
        movzx eax, byte [rbx + CASE_MODE]
        mov edi, EXIT_PROTOCOL
        cmp eax, 2
        ja exit
        lea rsi, [modes]
        shl eax, 4
        add rsi, rax                    ; CS, SS (also DS and ES), FS, GS, base of RIP
        movzx edx, word [rbx + CASE_OFFSET]
        mov ecx, [rsi + 8]
        add edx, ecx
        mov [iret_rip], rdx
        movzx eax, word [rsi]
        mov [iret_cs], rax
        movzx eax, word [rsi + 2]
        mov [iret_ss], rax
        mov rcx, [rbx + CASE_GPRS + 4 * 8]
        mov [iret_rsp], rcx
        mov ecx, [rbx + CASE_RFLAGS]
        and ecx, RFLAGS_CHOICE
        or ecx, RFLAGS_FIXED
        mov [iret_rflags], rcx
        mov byte [entering], 1
        mov ds, eax
        mov es, eax
        mov fs, [rsi + 4]
        mov gs, [rsi + 6]
        cmp byte [rbx + CASE_MODE], 0
        jne .based                      ; elsewhere the descriptor has the base
        mov rax, [rbx + CASE_FS]
        wrfsbase rax
        mov rax, [rbx + CASE_GS]
        wrgsbase rax
.based:
        fxrstor64 [fx]
        lea rsp, [gprs]
        pop rax
        pop rcx
        pop rdx
        pop rbx
        pop rbp                         ; RSP's own place
        pop rbp
        pop rsi
        pop rdi
        pop r8
        pop r9
        pop r10
        pop r11
        pop r12
        pop r13
        pop r14
        pop r15
        iretq

; ------------------------------------------------------------------------------------------------------ the signal

on_signal:                              ; EDI: signal, RSI: siginfo, RDX: ucontext; on the alternate stack
        push 2                          ; the kernel leaves AC, NT and ID as the case had them
        popfq
        mov rax, [rdx + UC_RIP]
        mov rcx, BASE
        sub rax, rcx
        cmp rax, text_size
        setb cl
        cmp edi, SIGPROF
        je .timer
        xor ebx, ebx
        test cl, cl
        jnz .inside
        cmp edi, SIGSYS
        jne report
        mov ebx, 2
        jmp report
.inside:
        mov ebx, 3                      ; the state itself cannot be loaded
        cmp byte [entering], 0
        jne report
        mov edi, EXIT_FAULT
        jmp exit
.timer:
        test cl, cl
        jz .case
        ret                             ; to the restorer, which goes on where we were
.case:
        mov ebx, 1
        inc dword [ticks]
        cmp dword [ticks], TICKS
        jae report
        lea rsp, [stack_top]            ; once more from the start
        mov rdi, [out_pointer]
        add rdi, RESULT_WORDS
        call restore
        mov rbx, [in_pointer]
        jmp run_case

restorer:
        mov eax, SYS_SIGRETURN
        syscall

report:                                 ; EBX: outcome, EDI: signal, RDX: ucontext
        mov byte [entering], 0
        mov eax, edi
        mov rdi, [out_pointer]
        mov [rdi + RESULT_OUTCOME], bl
        mov [rdi + RESULT_SIGNAL], al
        mov eax, [rdx + UC_TRAPNO]
        mov [rdi + RESULT_VECTOR], eax
        mov eax, [rdx + UC_ERR]
        mov [rdi + RESULT_ERROR], eax
        mov rax, [rdx + UC_CR2]
        mov [rdi + RESULT_CR2], rax
        mov rax, [rdx + UC_RIP]
        mov [rdi + RESULT_RIP], rax
        mov rax, [rdx + UC_EFLAGS]
        mov [rdi + RESULT_RFLAGS], rax
        rdfsbase rax
        mov [rdi + RESULT_FS_BASE], rax
        rdgsbase rax
        mov [rdi + RESULT_GS_BASE], rax
        mov [rdi + RESULT_SEGMENTS], es
        mov ax, [rdx + UC_CS]
        mov [rdi + RESULT_SEGMENTS + 2], ax
        mov ax, [rdx + UC_SS]
        mov [rdi + RESULT_SEGMENTS + 4], ax
        mov [rdi + RESULT_SEGMENTS + 6], ds
        mov [rdi + RESULT_SEGMENTS + 8], fs
        mov [rdi + RESULT_SEGMENTS + 10], gs
        mov dword [rdi + RESULT_SEGMENTS + 12], 0
%assign i 0
%rep 8
  %if i = 0
    %assign from UC_RAX
  %elif i = 1
    %assign from UC_RCX
  %elif i = 2
    %assign from UC_RDX
  %elif i = 3
    %assign from UC_RBX
  %elif i = 4
    %assign from UC_RSP
  %elif i = 5
    %assign from UC_RBP
  %elif i = 6
    %assign from UC_RSI
  %else
    %assign from UC_RDI
  %endif
        mov rax, [rdx + from]
        mov [rdi + RESULT_GPRS + i * 8], rax
        mov rax, [rdx + UC_R8 + i * 8]
        mov [rdi + RESULT_GPRS + 64 + i * 8], rax
%assign i i + 1
%endrep
        mov rsi, [rdx + UC_FPSTATE]
%assign i 0
%rep FX_SIZE / 16
        movups xmm0, [rsi + i]
        movups [rdi + RESULT_FX + i], xmm0
%assign i i + 16
%endrep
        lea rsp, [stack_top]            ; the frame is read: a timer signal may overwrite it from here on
        mov rbp, rdi
        add rdi, RESULT_WORDS
        call restore
        mov rax, rdi
        sub rax, rbp
        mov [rbp + RESULT_LENGTH], eax
        sub eax, RESULT_WORDS
        shr eax, 4
        mov [rbp + RESULT_CHANGES], ax
        mov [out_pointer], rdi
        mov rbx, [in_pointer]
        mov eax, [rbx + CASE_LENGTH]
        add [in_pointer], rax
        jmp next_case

; Stores the changed words of the data area at RDI and puts code and data back as they were before the case.
restore:
        lea rsi, [pristine]
        mov rdx, ALIAS_DATA
        xor ecx, ecx
.line:
        movdqa xmm0, [rsi + rcx]
        movdqa xmm1, [rsi + rcx + 16]
        movdqa xmm2, [rsi + rcx + 32]
        movdqa xmm3, [rsi + rcx + 48]
        pcmpeqb xmm0, [rdx + rcx]
        pcmpeqb xmm1, [rdx + rcx + 16]
        pcmpeqb xmm2, [rdx + rcx + 32]
        pcmpeqb xmm3, [rdx + rcx + 48]
        pand xmm0, xmm1
        pand xmm2, xmm3
        pand xmm0, xmm2
        pmovmskb eax, xmm0
        cmp eax, 0xFFFF
        jne .changed
        add ecx, 64
.compare:
        cmp ecx, DATA_SIZE
        jb .line
        jmp .unpatch
.changed:
        lea r8d, [ecx + 64]
.word:
        mov rax, [rdx + rcx]
        mov r9, [rsi + rcx]
        cmp rax, r9
        je .same
        mov [rdi], rcx
        mov [rdi + 8], rax
        add rdi, 16
        mov [rdx + rcx], r9
.same:
        add ecx, 8
        cmp ecx, r8d
        jb .word
        jmp .compare
.unpatch:
        mov r12, rdi
        mov rbx, [in_pointer]
        movzx eax, word [rbx + CASE_OFFSET]
        movzx ecx, word [rbx + CASE_CODE_SIZE]
        mov rdi, ALIAS_CODE
        add rdi, rax
        lea r8, [rbx + CASE_CODE]
        add r8, rcx
        mov al, 0xCC
        rep stosb
        movzx r9d, word [rbx + CASE_PATCHES]
        test r9d, r9d
        jz .done
.patch:
        add r8, 7
        and r8, -8
        mov r10d, [r8]
        mov r11d, [r8 + 4]
        lea rsi, [base]
        add rsi, r10
        lea rdi, [pristine]
        add rdi, r10
        mov ecx, r11d
        rep movsb
        lea rsi, [base]
        add rsi, r10
        mov rdi, ALIAS_DATA
        add rdi, r10
        mov ecx, r11d
        rep movsb
        lea r8, [r8 + r11 + 8]
        dec r9d
        jnz .patch
.done:
        mov rdi, r12
        ret

; ---------------------------------------------------------------------------------------------------------- tables

        align 8
modes:  dw USER_CS, USER_DS, 0, 0
        dd CODE, 0
        dw USER32_CS, USER_DS, LDT_FS, LDT_GS
        dd CODE, 0
        dw LDT_CS16, LDT_DS16, LDT_FS, LDT_GS
        dd 0, 0
descriptors:                            ; struct user_desc: entry, base, limit, flags
        dd 0, FS_BASE, 0xFFFFF, 0x51    ; 32-bit, in pages, usable
        dd 1, GS_BASE, 0xFFFFF, 0x51
        dd 2, CODE, 0xFFFF, 0x44        ; 16-bit code
        dd 3, DATA, 0x3FFF, 0x40        ; 16-bit data: one page past the data is inside the limit
descriptors_end:
alternate_stack:
        dq signal_stack, 0, signal_stack_size
action: dq on_signal, 0x5C000004, restorer, 0 ; SA_SIGINFO, SA_RESTORER, SA_ONSTACK, SA_RESTART, SA_NODEFER
period: dq 0, 10000, 0, 10000
filter_program:
        dq (filter_end - filter) / 8, filter
%macro bpf 4                            ; code, jump if true, jump if false, operand
        dw %1
        db %2, %3
        dd %4
%endmacro
filter: bpf 0x20, 0, 0, 4               ; arch
        bpf 0x15, 0, 9, 0xC000003E      ; AUDIT_ARCH_X86_64
        bpf 0x20, 0, 0, 12              ; instruction pointer, high half
        bpf 0x15, 0, 7, BASE >> 32
        bpf 0x20, 0, 0, 8               ; low half
        bpf 0x35, 0, 5, BASE & 0xFFFFFFFF
        bpf 0x35, 4, 0, (BASE & 0xFFFFFFFF) + text_size
        bpf 0x20, 0, 0, 0               ; number
        bpf 0x15, 3, 0, SYS_SIGRETURN
        bpf 0x35, 0, 2, 2               ; read and write
        bpf 0x15, 1, 0, SYS_EXIT_GROUP
        bpf 0x06, 0, 0, 0x00030000      ; SECCOMP_RET_TRAP
        bpf 0x06, 0, 0, 0x7FFF0000      ; SECCOMP_RET_ALLOW
filter_end:
leaves: dd 0, 0, 1, 0, 7, 0, 7, 1, 13, 0, 13, 1
        dd 0x80000000, 0, 0x80000001, 0, 0x80000002, 0, 0x80000003, 0, 0x80000004, 0, 0x80000007, 0, 0x80000008, 0
leaves_end:
signals:
        db 4, 5, 7, 8, 11, SIGPROF, SIGSYS, 0
text_end:
text_size       equ text_end - text_start

sectalign off                           ; VARIABLES is a page of its own
section .bss nobits vstart=VARIABLES
variables_start:
        alignb 64
fx:     resb 512
gprs:   resq 16                         ; the IRET frame follows: the last POP leaves RSP at it
iret_rip:       resq 1
iret_cs:        resq 1
iret_rflags:    resq 1
iret_rsp:       resq 1
iret_ss:        resq 1
in_pointer:     resq 1
in_end: resq 1
out_pointer:    resq 1
seed:   resd 1
ticks:  resd 1
entering:       resb 1
        alignb 64
base:   resb DATA_SIZE                  ; the seed's pattern
pristine:       resb DATA_SIZE          ; the pattern with the case's patches
stack:  resb 4096
stack_top:
; IRETQ to a 16-bit stack loads SP alone, above which RSP stays that of the IRET frame. The kernel must not take such an
; RSP for one on the signal stack, on which it would go on: nothing else lies in the same 64 KiB.
        alignb 0x10000
signal_stack:   resb 0x20000
signal_stack_size equ $ - signal_stack
in_buffer:      resb IN_SIZE
out_buffer:     resb OUT_SIZE
variables_end:
variables_size  equ variables_end - variables_start
