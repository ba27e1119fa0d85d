; The smallest multiboot kernel with a result: it writes the decimal number at the end of its command line to the debug
; exit port, which ends the run with exit code (number << 1) | 1.
; nasm -f bin; loaded by the address fields of its multiboot 1 header (specification 0.6.96, section 3.1.3).

bits 32
org 0x100000
header:
  dd 0x1badb002, 0x10003, -(0x1badb002 + 0x10003)
  dd header, header, 0, end + 0x1000, start

start:
  cld
  mov esi, [ebx + 16] ; the command line
  xor edx, edx
next:
  xor eax, eax
  lodsb
  test al, al
  jz done
  sub al, '0'
  cmp al, 10
  jae other
  lea edx, [edx + edx * 4]
  lea edx, [eax + edx * 2]
  jmp next
other: ; only the last number counts
  xor edx, edx
  jmp next
done:
  mov eax, edx
  out 0xf4, eax
halt:
  cli
  hlt
  jmp halt
end:
