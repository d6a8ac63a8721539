//! A 63-bit hash that fits the version of a Delta application transaction.

use sha2::{Digest, Sha256};

/// The start of a SHA-256 as a number that is never negative.
#[derive(Default)]
pub(super) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds one part of several, so that the same text cut elsewhere is another fingerprint.
    pub(super) fn part(&mut self, part: &str) {
        self.bytes(&(part.len() as u64).to_le_bytes());
        self.bytes(part.as_bytes());
    }

    pub(super) fn finish(self) -> i64 {
        let digest = self.0.finalize();
        let start = digest.first_chunk::<8>().copied().unwrap_or_default();
        i64::from_be_bytes(start) & i64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other_and_no_fingerprint_is_negative() {
        let of = |parts: &[&str]| {
            let mut fingerprint = Fingerprint::default();
            parts.iter().for_each(|p| fingerprint.part(p));
            fingerprint.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert!((0..200).all(|i| of(&[&i.to_string()]) >= 0));
    }
}
