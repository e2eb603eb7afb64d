//! A list of numbers, read as choices.

/// Choices still to be made.
#[derive(Debug)]
pub struct Choices<'a> {
    numbers: &'a [u16],
    place: usize,
}

impl<'a> Choices<'a> {
    /// Reads the numbers from their start.
    pub fn new(numbers: &'a [u16]) -> Choices<'a> {
        Choices { numbers, place: 0 }
    }

    fn next(&mut self) -> usize {
        let number = self.numbers.get(self.place).copied().unwrap_or_default();
        self.place += 1;
        usize::from(number)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.next() % bound.max(1)
    }

    /// True in about `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// What `make` makes, in about `percent` of 100 cases.
    pub fn maybe<T>(&mut self, percent: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }
}
