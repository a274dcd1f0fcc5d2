//! Memory that jobs have used, on its way back to the system.
//!
//! By itself the C library keeps much of what is freed for whoever asks next, in an arena for each thread: after a large
//! job that was up to 150 MB, held by a daemon that did nothing. Other C libraries and systems have no such calls; there
//! this does nothing.

/// Says once, before there are other threads, that large pieces come from the system and go back to it. With the first
/// large piece that is freed, the C library else raises both bounds, the first as far as 32 MiB.
pub fn prefer_the_system() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// From this many bytes on a piece has pages of its own, and this many may be free at the end of an arena. Half as
        /// much costs 2 % more of a backup's time, four times as much takes 20 MB more.
        const LARGE: libc::c_int = 1024 * 1024;
        for bound in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
            #[expect(unsafe_code, reason = "it takes two numbers and sets a bound")]
            // SAFETY: no pointer is passed, and there are no other threads yet.
            let _ = unsafe { libc::mallopt(bound, LARGE) };
        }
    }
}

/// Gives back whole pages that nothing is in.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "it takes a number and gives free pages back")]
        // SAFETY: no pointer is passed, and the C library's manual has it as safe beside other threads.
        let _ = unsafe { libc::malloc_trim(0) };
    }
}
