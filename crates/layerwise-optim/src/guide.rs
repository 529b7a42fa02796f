#![doc = include_str!("../docs/guide.md")]

/// Its program is compiled and run with the others of the documentation.
#[cfg(doctest)]
mod readme {
    #![doc = include_str!("../README.md")]
}
