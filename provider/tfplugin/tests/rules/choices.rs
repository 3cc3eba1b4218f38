//! A case is a string of bytes, and everything random in it is read from there: shorter and smaller bytes are simpler cases,
//! so that a failing case shrinks well and can be written down.

/// The bytes of one case, read from the front. Past the end every choice is the first one.
pub(crate) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// One of `0..n`; 0 is the simplest.
    pub(crate) fn pick(&mut self, n: usize) -> usize {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        usize::from(*first) % n
    }

    /// True once in `n` times.
    pub(crate) fn rarely(&mut self, n: usize) -> bool {
        self.pick(n) == n - 1
    }

    pub(crate) fn of<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.pick(from.len())].clone()
    }
}
