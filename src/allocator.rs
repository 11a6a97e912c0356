//! The allocator of the binary, and of what measures its parts: jemalloc, which keeps the pages of batches, that come and go
//! by the thousand, for the next ones.
//!
//! | option | why |
//! |---|---|
//! | `narenas_ratio:1` | an arena for each processor, not four: threads that encode come and go, and each arena keeps its own free pages |
//! | `dirty_decay_ms:1000` | in an arena that is used, what is free for a second goes back (not ten): a long run takes little more than a short one |
//! | `thp:always` | huge pages where the kernel gives them on request: fewer page faults, up to a tenth of the time. Elsewhere jemalloc would complain |

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(all(target_os = "linux", not(target_arch = "arm")))]
const TEXT: &[u8; 47] = b"narenas_ratio:1,dirty_decay_ms:1000,thp:always\0";
#[cfg(not(all(target_os = "linux", not(target_arch = "arm"))))]
const TEXT: &[u8; 36] = b"narenas_ratio:1,dirty_decay_ms:1000\0";

/// Read by jemalloc before `main`; the environment variable `_RJEM_MALLOC_CONF` overrules it.
#[expect(unsafe_code, reason = "jemalloc finds its options by the name of a symbol, which is its own")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static OPTIONS: &[u8; TEXT.len()] = TEXT;
