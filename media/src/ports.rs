//! The pool of RTP port pairs: even for RTP, the next for RTCP (RFC 3550 section 11). A pair that was closed rests in
//! quarantine so that late packets of one call never reach the next. Pure: it hands out numbers, sockets are elsewhere.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::stats::PortUse;

/// Why no pair can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PortError {
    /// The configured range holds no even port with its successor.
    #[error(
        "the RTP port range {first}-{last} holds no even port with the odd one after it; widen it"
    )]
    EmptyRange {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// Every pair is held by a leg or rests.
    #[error(
        "no RTP port is free: {in_use} pairs in use, {quarantined} resting after use, of {total}; \
         widen the port range or shorten the quarantine"
    )]
    Exhausted {
        /// Held by legs.
        in_use: usize,
        /// In quarantine.
        quarantined: usize,
        /// In the range.
        total: usize,
    },
}

/// Even ports of a range. Ports come back in the order they were closed, so each rests as long as load allows.
#[derive(Debug)]
pub struct PortPool {
    free: VecDeque<u16>,
    resting: VecDeque<(Instant, u16)>,
    quarantine: Duration,
    total: usize,
}

impl PortPool {
    /// A pool over the even ports of `range` whose successor is in it too.
    ///
    /// # Errors
    /// [`PortError::EmptyRange`].
    pub fn new(range: RangeInclusive<u16>, quarantine: Duration) -> Result<Self, PortError> {
        let (first, last) = (*range.start(), *range.end());
        let free: VecDeque<u16> = range
            .filter(|port| port % 2 == 0 && *port != 0 && *port < last)
            .collect();
        if free.is_empty() {
            return Err(PortError::EmptyRange { first, last });
        }
        Ok(Self {
            total: free.len(),
            free,
            resting: VecDeque::new(),
            quarantine,
        })
    }

    /// Takes the pair that has been free longest; gives its even port.
    ///
    /// # Errors
    /// [`PortError::Exhausted`].
    pub fn take(&mut self, now: Instant) -> Result<u16, PortError> {
        self.wake(now);
        self.free.pop_front().ok_or_else(|| {
            let PortUse {
                total,
                in_use,
                quarantined,
            } = self.usage(now);
            PortError::Exhausted {
                in_use,
                quarantined,
                total,
            }
        })
    }

    /// Gives a pair back after use; it rests first.
    pub fn give_back(&mut self, port: u16, now: Instant) {
        self.resting.push_back((now + self.quarantine, port));
    }

    /// How many pairs are where.
    pub fn usage(&mut self, now: Instant) -> PortUse {
        self.wake(now);
        let quarantined = self.resting.len();
        PortUse {
            total: self.total,
            in_use: self.total - self.free.len() - quarantined,
            quarantined,
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some(&(until, port)) = self.resting.front()
            && until <= now
        {
            self.resting.pop_front();
            self.free.push_back(port);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn only_even_ports_with_a_successor_are_given() {
        let mut pool = PortPool::new(10_001..=10_006, Duration::ZERO).unwrap();
        let now = Instant::now();
        assert_eq!(pool.take(now), Ok(10_002));
        assert_eq!(pool.take(now), Ok(10_004));
        assert_eq!(
            pool.take(now),
            Err(PortError::Exhausted {
                in_use: 2,
                quarantined: 0,
                total: 2
            })
        );
        assert!(matches!(
            PortPool::new(10_001..=10_002, Duration::ZERO),
            Err(PortError::EmptyRange { .. })
        ));
        assert!(matches!(
            PortPool::new(5..=5, Duration::ZERO),
            Err(PortError::EmptyRange { .. })
        ));
        assert_eq!(
            PortPool::new(0..=u16::MAX, Duration::ZERO).unwrap().total,
            32_767
        );
    }

    #[test]
    fn a_closed_port_rests_before_it_is_used_again() {
        let mut pool = PortPool::new(4_000..=4_003, Duration::from_secs(5)).unwrap();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(pool.take(at(0)), Ok(4_000));
        pool.give_back(4_000, at(1_000));
        assert_eq!(
            pool.take(at(1_001)),
            Ok(4_002),
            "the rested one comes first"
        );
        assert_eq!(
            pool.take(at(5_999)),
            Err(PortError::Exhausted {
                in_use: 1,
                quarantined: 1,
                total: 2
            })
        );
        assert_eq!(pool.take(at(6_000)), Ok(4_000));
        assert_eq!(
            pool.usage(at(6_000)),
            PortUse {
                total: 2,
                in_use: 2,
                quarantined: 0
            }
        );
    }
}
