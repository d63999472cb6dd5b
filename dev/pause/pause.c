/* The first process of every pod: it holds the pod's namespaces open and reaps what is left to
   it. It needs no C library, so the whole image is this one file. */

#include <asm/unistd.h>
#include <linux/signal.h>
#include <linux/wait.h>

static long call(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
  return result;
}

void _start(void) {
  /* Blocked and waited for: the first process of a namespace gets no default action, so an
     unblocked SIGTERM without a handler would be ignored. */
  const unsigned long wanted = 1UL << (SIGTERM - 1) | 1UL << (SIGINT - 1) | 1UL << (SIGCHLD - 1);
  call(__NR_rt_sigprocmask, SIG_BLOCK, (long)&wanted, 0, sizeof wanted);
  for (;;) {
    long signal = call(__NR_rt_sigtimedwait, (long)&wanted, 0, 0, sizeof wanted);
    if (signal == SIGTERM || signal == SIGINT) {
      call(__NR_exit_group, 0, 0, 0, 0);
    }
    while (call(__NR_wait4, -1, 0, WNOHANG, 0) > 0) {
    }
  }
}
