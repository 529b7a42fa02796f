#![doc = include_str!("../docs/references.md")]
