//! The window of inbound session sequence numbers (IPMI v2.0 §6.12.13): a packet counts once.

/// What was received. Only packets whose authentication code is right are shown to it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    highest: Option<u32>,
    /// Bit n: `highest - n` was seen.
    seen: u32,
}

/// How far behind the highest number a late packet may be.
const BEHIND_MAX: u32 = 16;

impl Window {
    /// True once for each number that is new, or late by at most [`BEHIND_MAX`].
    ///
    /// Numbers ahead are taken however far they are, although the specification stops at 15: after a burst of lost replies the
    /// session would be dead, and an authenticated packet from the future harms nobody.
    pub(super) fn accept(&mut self, sequence: u32) -> bool {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            self.seen = 1;
            return true;
        };
        let ahead = sequence.wrapping_sub(highest);
        if ahead != 0 && ahead < u32::MAX / 2 {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = Some(sequence);
            return true;
        }
        let behind = highest.wrapping_sub(sequence);
        if behind > BEHIND_MAX || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[(u32, bool)]) {
        let mut window = Window::default();
        for (at, (number, expected)) in numbers.iter().enumerate() {
            assert_eq!(window.accept(*number), *expected, "step {at}: {number}");
        }
    }

    #[test]
    fn each_number_counts_once() {
        check(&[(1, true), (1, false), (2, true), (1, false), (2, false)]);
    }

    #[test]
    fn late_packets_count_within_the_window() {
        check(&[
            (100, true),
            (84, true),
            (83, false),
            (84, false),
            (99, true),
        ]);
    }

    #[test]
    fn jumps_and_wrapping_are_ahead() {
        check(&[(1, true), (60, true), (28, false), (59, true)]);
        check(&[(u32::MAX, true), (1, true), (u32::MAX, false), (0, true)]);
    }
}
