//! Making many live files durable at once.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Result;
use crate::live::LiveFile;
use crate::vault::SyncReport;

/// Threads that wait for the disk at the same time.
const WAITERS: usize = 8;

/// Syncs each of the files; the first error is returned after all were tried.
pub(crate) fn sync_all(files: &[Arc<LiveFile>]) -> Result<SyncReport> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<SyncReport> {
        let mut report = SyncReport::default();
        let mut first_error = Ok(());
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let before = file.durable.load(Ordering::Acquire);
            match file.sync() {
                Ok(position) => {
                    report.files += 1;
                    report.bytes += position.saturating_sub(before);
                }
                Err(e) => first_error = first_error.and(Err(e)),
            }
        }
        first_error.map(|()| report)
    };
    let waiters = NonZero::new(files.len().min(WAITERS)).map_or(1, NonZero::get);
    if waiters == 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..waiters).map(|_| scope.spawn(work)).collect();
        let mut total = work();
        for other in others {
            let done = other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            total = total.and_then(|a| {
                done.map(|b| SyncReport {
                    files: a.files + b.files,
                    bytes: a.bytes + b.bytes,
                })
            });
        }
        total
    })
}
