//! Whether there is room for what is to be restored.

use super::target::Target;
use crate::monitor::Monitor;

/// Says so if a new destination has less room than the files are long.
///
/// It stays a notice: files with holes, and file systems that compress, take less than their length. Of a destination
/// that was there before, some may be right already, and nothing can be said.
pub(super) fn notice_if_short(monitor: &dyn Monitor, destination: &Target, bytes: u64) {
    if !destination.made {
        return;
    }
    let Ok(stat) = rustix::fs::statvfs(destination.path()) else { return };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if bytes > free {
        let [bytes, free] = [bytes, free].map(mebibytes);
        let at = destination.path().display();
        monitor.notice(&format!(
            "Files of {bytes} are to be restored, and {at} has room for {free}. What does not fit will be named; files with \
             holes take less."
        ));
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
