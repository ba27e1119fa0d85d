; The way from Node to two things that V8 offers to programs in C++ only: the machine code of a compiled WebAssembly module as
; bytes, and a module from such bytes (v8-wasm.h: CompiledWasmModule, WasmModuleCompilation). Called through node:ffi with the
; address of a table: V8's functions, what they are to be given, and room for what they make; machine-code.ts fills it.
; Position-independent. `nasm -f bin -o bridge bridge.asm`; the bytes stand in bridge.ts, machine-code.test.ts assembles them again.
;
; System V ABI for x86-64, and the Itanium C++ ABI: a Local is the address of its slot, objects with a destructor are returned
; where the hidden first argument says. libstdc++: a shared_ptr's control block has its count at 8; a function is 16 bytes of its
; own, its manager and its invoker; a variant has its index behind its value.

bits 64

; The table: functions, in words.
GET_ISOLATE     equ 0
GET_CONTEXT     equ 8
GET_GLOBAL      equ 16
GET             equ 24
PUT             equ 32
GET_COMPILED    equ 40
MAKE_CODE       equ 48
CONSTRUCT       equ 56
EXPECT_CODE     equ 64
TAKE_BYTES      equ 72
COMPLETE        equ 80
DESTROY         equ 88
; A property of the global object, by number: there the module is, or goes.
PROPERTY        equ 96
; Bits: V8 is taking the code; the module was made.
STATUS          equ 104
; The module's bytes and its machine code: address, length.
MODULE          equ 112
CODE            equ 128
ISOLATE         equ 144
CONTEXT         equ 152
ROOT            equ 160
COMPILED        equ 168                 ; room of 128 bytes
COMPILATION     equ 296                 ; room of 64
ON_CODE         equ 360                 ; functions, of 32 bytes each
ON_DONE         equ 392

TAKING equ 1
MADE equ 2
CLONE equ 2                             ; an operation of std::function's managers

        jmp     near serialize          ; 0
        jmp     near deserialize        ; 5
        jmp     near manage             ; 10
        jmp     near give_code          ; 15
        jmp     near take_module        ; 20

; int serialize(table*)
serialize:
        push    rbx
        mov     rbx, rdi
        call    look_around
        mov     rdi, [rbx + ROOT]
        mov     rsi, [rbx + CONTEXT]
        mov     edx, [rbx + PROPERTY]
        call    [rbx + GET]
        lea     rdi, [rbx + COMPILED]
        mov     rsi, rax
        call    [rbx + GET_COMPILED]
        lea     rdi, [rbx + CODE]
        lea     rsi, [rbx + COMPILED]
        call    [rbx + MAKE_CODE]
        mov     rax, [rbx + COMPILED + 8]
        test    rax, rax
        jz      .end
        lock dec dword [rax + 8]        ; never to zero: the module of who called has it too
.end:   xor     eax, eax
        pop     rbx
        ret

; int deserialize(table*)
deserialize:
        push    rbx
        mov     rbx, rdi
        call    look_around
        lea     rdi, [rbx + COMPILATION]
        call    [rbx + CONSTRUCT]
        lea     rdi, [rbx + COMPILATION]
        call    [rbx + EXPECT_CODE]
        lea     rdi, [rbx + COMPILATION]
        mov     rsi, [rbx + MODULE]
        mov     rdx, [rbx + MODULE + 8]
        call    [rbx + TAKE_BYTES]
        lea     rdi, [rbx + COMPILATION]
        mov     rsi, [rbx + ISOLATE]
        lea     rdx, [rbx + ON_CODE]
        lea     rcx, [rbx + ON_DONE]
        call    [rbx + COMPLETE]
        lea     rdi, [rbx + COMPILATION]
        call    [rbx + DESTROY]
        xor     eax, eax
        pop     rbx
        ret

; The isolate, its context and the global object. Called with the stack aligned, so that another word goes on it.
look_around:
        sub     rsp, 8
        call    [rbx + GET_ISOLATE]
        mov     [rbx + ISOLATE], rax
        mov     rdi, rax
        call    [rbx + GET_CONTEXT]
        mov     [rbx + CONTEXT], rax
        mov     rdi, rax
        call    [rbx + GET_GLOBAL]
        mov     [rbx + ROOT], rax
        add     rsp, 8
        ret

; bool manage(function* to, function* from, int operation): its own 16 bytes are copied, there is nothing to destroy
manage:
        cmp     edx, CLONE
        jne     .end
        movups  xmm0, [rsi]
        movups  [rdi], xmm0
.end:   xor     eax, eax
        ret

; void give_code(function*, ModuleCachingInterface*): its second method takes the code, if it is of a V8 like this one
give_code:
        push    rbx
        mov     rbx, [rdi]
        or      dword [rbx + STATUS], TAKING
        mov     rdi, rsi
        mov     rax, [rdi]
        mov     rsi, [rbx + CODE]
        mov     rdx, [rbx + CODE + 8]
        call    [rax + 8]
        and     dword [rbx + STATUS], ~TAKING
        pop     rbx
        ret

; void take_module(function*, variant*): the module, or an error. Where V8 does not take the code it compiles, and calls this
; later, when nobody waits for it any more.
take_module:
        push    rbx
        mov     rbx, [rdi]
        test    dword [rbx + STATUS], TAKING
        jz      .end
        cmp     byte [rsi + 8], 0
        jne     .end
        or      dword [rbx + STATUS], MADE
        mov     rcx, [rsi]
        mov     rdi, [rbx + ROOT]
        mov     rsi, [rbx + CONTEXT]
        mov     edx, [rbx + PROPERTY]
        call    [rbx + PUT]
.end:   pop     rbx
        ret
