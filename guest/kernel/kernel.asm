; A bare-metal test kernel for what user mode cannot reach: privilege, segmentation, tasks, paging, exceptions, interrupts,
; the local APIC, two processors. It judges nothing: it prints what it saw on COM1, and what must be seen is in
; tests/kernel/expectations.ts. Ends with a write to the debug exit port.
; nasm -f bin: a multiboot 1 image that is loaded by the address fields of its header (specification 0.6.96, section 3.1.3).

%include "layout.inc"
%include "macros.inc"

section .text vstart=LOAD_ADDRESS
section .rodata follows=.text vfollows=.text align=16 valign=16
section .data follows=.rodata vfollows=.rodata align=16 valign=16
section .low follows=.data vstart=LOW_ADDRESS align=16
low_image equ LOAD_ADDRESS + section..low.start
section .low
low_start:
%include "start-processor.inc" ; the start-up vector
[section .text]

section .text
bits 32
image:
  dd 0x1badb002, 0x10003, -(0x1badb002 + 0x10003)
  dd image, image, 0, BSS_END, start

%include "start.inc"
bits 32
%include "text.inc"
%include "segments.inc"
%include "gates.inc"
%include "tasks.inc"
%include "v86.inc"
%include "real.inc"
%include "paging32.inc"
%include "long.inc"
bits 64
%include "text.inc"
%include "paging64.inc"
%include "canonical.inc"
%include "exceptions.inc"
%include "debug.inc"
%include "system.inc"
%include "transfer.inc"
%include "code.inc"
%include "apic.inc"
%include "processors.inc"

section .rodata
vector_names: db 'DE',0,0,'DB',0,0,'NMI',0,'BP',0,0,'OF',0,0,'BR',0,0,'UD',0,0,'NM',0,0,'DF',0,0,'V9',0,0
  db 'TS',0,0,'NP',0,0,'SS',0,0,'GP',0,0,'PF',0,0,'V15',0,'MF',0,0,'AC',0,0,'MC',0,0,'XM',0,0
error_code_vectors: dd 0x27d00
ok_text: db 'ok', 0
far_text: db 'far', 0
vector_text: db 'V', 0

section .low
low_end:
