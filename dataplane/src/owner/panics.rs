//! What a panic says.

use std::any::Any;

/// The words of whoever panicked, if there are any.
pub(super) fn words(panic: &(dyn Any + Send)) -> String {
    let fixed = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = fixed.or_else(|| panic.downcast_ref::<String>().cloned());
    words.unwrap_or_else(|| "it did not say why".to_owned())
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn both_kinds_of_words_are_kept() {
        let words_of = |panics: fn()| words(&*catch_unwind(panics).expect_err("it panics"));
        assert_eq!(words_of(|| panic!("fixed")), "fixed");
        assert_eq!(words_of(|| panic!("number {}", std::hint::black_box(7))), "number 7");
        assert_eq!(words_of(|| std::panic::panic_any(3_u8)), "it did not say why");
    }
}
