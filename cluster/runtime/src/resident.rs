//! What is resident and not needed: free memory, and the program text that the start, or the last burst of reconciles, went
//! through.
//!
//! The kernel maps sixteen pages of text around each one that is touched, and keeps them mapped while memory is plenty: of
//! the 32 MiB of an agent that has nothing to do, 26 are text, and almost all of it is never run again until there is
//! work. So a quiet process lets go of its text. The pages stay in the kernel's cache, the first to be reclaimed there,
//! and come back by a page fault when they are run; nothing is read from the disk for it unless the kernel did need the
//! memory.

#[cfg(target_os = "linux")]
use std::{ops::Range, time::Duration};

use crate::Tasks;

/// How often it is looked whether the process is quiet.
#[cfg(target_os = "linux")]
const EVERY: Duration = Duration::from_secs(5);
/// A process that took less CPU time in one such span is quiet: two percent of a core, which is more than a hub takes for
/// the heartbeats of a thousand agents.
#[cfg(target_os = "linux")]
const QUIET: Duration = Duration::from_millis(100);

/// Lets go of free memory and of the program's text each time the process becomes quiet. Elsewhere than on Linux it does nothing.
pub fn let_go_when_quiet(tasks: &Tasks) {
    #[cfg(target_os = "linux")]
    {
        let shutdown = tasks.shutdown_token().clone();
        tasks.spawn("resident", async move {
            let mut quiet = Quiet::default();
            while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
                if quiet.is_time(cpu_time()) {
                    crate::allocator::trim();
                    let_go_of_text();
                }
            }
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = tasks;
}

/// Whether text is to be let go, from the CPU time at each look.
#[cfg(target_os = "linux")]
#[derive(Debug, Default)]
struct Quiet {
    last: Duration,
    /// Text was let go since the process was busy last.
    is_done: bool,
}

#[cfg(target_os = "linux")]
impl Quiet {
    fn is_time(&mut self, used: Duration) -> bool {
        let busy = used.saturating_sub(self.last) >= QUIET;
        self.last = used;
        let is_time = !busy && !self.is_done;
        self.is_done = !busy;
        is_time
    }
}

/// CPU time of all threads since the process began; zero where the kernel does not say, which counts as quiet.
#[cfg(target_os = "linux")]
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to where one is.
    #[allow(unsafe_code)]
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    if answer != 0 {
        return Duration::ZERO;
    }
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Unmaps the pages of executable files, which come back when they are run.
#[cfg(target_os = "linux")]
fn let_go_of_text() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    for range in text_ranges(&maps) {
        let length = range.end - range.start;
        // SAFETY: the range is mapped from a file and can be executed but not written, so its pages are the file's own:
        // whoever runs into one that is unmapped gets the same bytes again.
        #[allow(unsafe_code)]
        unsafe {
            let start = range.start as *mut libc::c_void;
            libc::madvise(start, length, libc::MADV_COLD);
            libc::madvise(start, length, libc::MADV_DONTNEED);
        }
    }
}

/// Executable mappings of files that cannot be written, from the text of `/proc/PID/maps`. Data that the loader has
/// relocated is mapped from a file too, and its pages are not the file's any more; it is never executable.
#[cfg(target_os = "linux")]
fn text_ranges(maps: &str) -> Vec<Range<usize>> {
    let range = |line: &str| {
        let mut words = line.split_whitespace();
        let (range, permissions) = (words.next()?, words.next()?);
        let file = words.nth(3)?;
        if !permissions.starts_with("r-x") || !file.starts_with('/') {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some(address(start)?..address(end)?).filter(|range| range.start < range.end)
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_files_is_let_go() {
        let maps = "\
563d3a600000-563d3b0e2000 r--p 00000000 fe:00 131 /usr/bin/nave-agent
563d3b0e2000-563d3cfcd000 r-xp 00ae1000 fe:00 131 /usr/bin/nave-agent
563d3cfcd000-563d3d0f6000 r--p 029cb000 fe:00 131 /usr/bin/nave-agent
563d3d0f6000-563d3d12c000 rw-p 02af3000 fe:00 131 /usr/bin/nave-agent
563d3e000000-563d3e400000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000001000 r-xp 00000000 00:00 0
7ffd3d9f9000-7ffd3d9fb000 r-xp 00000000 00:00 0 [vdso]
broken
";
        let text = 0x563d_3b0e_2000..0x563d_3cfc_d000;
        assert_eq!(text_ranges(maps), [text]);
    }

    #[test]
    fn text_is_let_go_once_each_time_that_it_becomes_quiet() {
        let mut quiet = Quiet::default();
        let used = [180, 400, 410, 411, 412, 600, 601, 602].map(Duration::from_millis);
        let times = used.map(|used| quiet.is_time(used));
        assert_eq!(times, [false, false, true, false, false, false, true, false]);
    }

    #[test]
    fn a_process_without_its_text_goes_on() {
        let mapped = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let before = mapped();
        let_go_of_text();
        let after = mapped();
        assert!(after < before, "{after} KiB of files are mapped, and were {before}");
        // Other code runs as ever, on other threads too.
        let sum = std::thread::spawn(|| (1..=10u64).sum::<u64>()).join().unwrap();
        assert_eq!(sum, 55);
        assert!(cpu_time() > Duration::ZERO);
    }
}
