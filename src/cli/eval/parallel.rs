//! Many pieces of work on some threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use indicatif::ProgressBar;

/// Does `work` for each item on `threads` threads; the results are in the order of the items. After
/// an error no further item is begun.
///
/// # Errors
/// The first error of `work`.
pub(super) fn each<I: Sync, T: Send>(
    items: &[I],
    threads: usize,
    bar: &ProgressBar,
    work: impl Fn(&I) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
    let run = || -> anyhow::Result<()> {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return Ok(()) };
            match work(item) {
                Ok(value) => {
                    let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    done.push((i, value));
                    bar.inc(1);
                }
                Err(e) => {
                    next.store(items.len(), Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(run)).collect();
        for worker in workers {
            match worker.join() {
                Ok(outcome) => outcome?,
                Err(_) => bail!("a worker thread failed"),
            }
        }
        Ok(())
    })?;
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(i, _)| *i);
    Ok(done.into_iter().map(|(_, value)| value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_errors_end_it() {
        let items: Vec<u32> = (0..100).collect();
        let bar = ProgressBar::hidden();
        let doubled = each(&items, 3, &bar, |i| Ok(i * 2)).unwrap();
        assert!(doubled.iter().zip(&items).all(|(d, i)| *d == i * 2));
        let failed = each(&items, 2, &bar, |i| if *i == 7 { bail!("seven") } else { Ok(()) });
        assert_eq!(failed.unwrap_err().to_string(), "seven");
    }
}
