//! A wall clock that can be set: loaded into a process (`LD_PRELOAD`), it adds what the file named by `NAVE_TEST_CLOCK`
//! says to every answer. The file is eight bytes, the seconds to add as a little-endian `i64`; it is read through memory,
//! so that a change counts at once. Time that only ever goes on (`CLOCK_MONOTONIC`) is left alone.
//!
//! Compiled by `clock.rs` with `rustc` alone, hence without crates.

use std::{
    env,
    ffi::{c_int, c_long, c_void},
    fs::File,
    os::fd::AsRawFd,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering},
    },
};

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;

const REALTIME: c_int = 0;
const REALTIME_COARSE: c_int = 5;

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

#[repr(C)]
pub struct Timeval {
    seconds: i64,
    microseconds: c_long,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn mmap(address: *mut c_void, length: usize, protection: c_int, flags: c_int, file: c_int, offset: i64)
    -> *mut c_void;
}

/// The seconds to add; nothing without the file.
fn ahead() -> i64 {
    static SHARED: OnceLock<Option<usize>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let file = File::open(env::var_os("NAVE_TEST_CLOCK")?).ok()?;
        let (read, shared) = (1, 1);
        let address = unsafe { mmap(ptr::null_mut(), 8, read, shared, file.as_raw_fd(), 0) };
        (address as isize != -1).then_some(address as usize)
    });
    shared.map_or(0, |address| unsafe { &*(address as *const AtomicI64) }.load(Ordering::Relaxed))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    let answer = unsafe { syscall(CLOCK_GETTIME, clock, time) };
    if answer == 0 && (clock == REALTIME || clock == REALTIME_COARSE) {
        unsafe { (*time).seconds += ahead() };
    }
    answer as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut Timeval, _zone: *mut c_void) -> c_int {
    let mut now = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    let answer = unsafe { clock_gettime(REALTIME, &mut now) };
    if !time.is_null() {
        unsafe {
            (*time).seconds = now.seconds;
            (*time).microseconds = now.nanoseconds / 1000;
        }
    }
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(seconds: *mut i64) -> i64 {
    let mut now = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    unsafe { clock_gettime(REALTIME, &mut now) };
    if !seconds.is_null() {
        unsafe { *seconds = now.seconds };
    }
    now.seconds
}
