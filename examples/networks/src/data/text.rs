//! A play, character by character.

use crate::data::{Examples, unpack};
use crate::error::Result;

/// Of the text, the last tenth is held out.
const HELD_OUT_SHARE: usize = 10;

/// A stretch of text, of which every window of `context + 1` characters is an example.
#[derive(Clone, Debug)]
pub struct Text {
    /// Numbers of characters.
    characters: Vec<usize>,
    context: usize,
}

/// Windows of text. Of each position the next character is to be predicted.
#[derive(Clone, Debug)]
pub struct Sequences {
    /// N · T characters, one window after the other.
    pub characters: Vec<usize>,
    /// N · T characters, each the one that follows.
    pub next: Vec<usize>,
    /// T, the characters of a window.
    pub context: usize,
}

/// A text to train on, and the rest of it.
#[derive(Clone, Debug)]
pub struct Play {
    /// Nine tenths, from the beginning.
    pub train: Text,
    /// The last tenth.
    pub held_out: Text,
    /// The characters, in the order of their numbers.
    pub alphabet: Vec<char>,
}

/// "As You Like It", to be read through windows of so many characters (≥ 1).
///
/// # Errors
///
/// A damaged file.
pub fn play(context: usize) -> Result<Play> {
    let name = "as-you-like-it.txt.gz";
    let text = unpack(name, include_bytes!("../../data/as-you-like-it.txt.gz"))?;
    let alphabet: std::collections::BTreeSet<char> = text.chars().collect();
    let alphabet: Vec<char> = alphabet.into_iter().collect();
    // Every character is in the alphabet.
    let characters: Vec<usize> =
        text.chars().filter_map(|c| alphabet.binary_search(&c).ok()).collect();
    let (train, held_out) =
        characters.split_at(characters.len() - characters.len() / HELD_OUT_SHARE);
    let of = |part: &[usize]| Text { characters: part.to_vec(), context };
    Ok(Play { train: of(train), held_out: of(held_out), alphabet })
}

impl Text {
    /// How many characters it has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.characters.len()
    }
}

impl Examples for Text {
    type Batch = Sequences;

    fn count(&self) -> usize {
        self.characters.len().saturating_sub(self.context)
    }

    fn select(&self, numbers: &[usize]) -> Sequences {
        let windows = |offset: usize| {
            let from = move |&number: &usize| {
                self.characters[number + offset..][..self.context].iter().copied()
            };
            numbers.iter().flat_map(from).collect()
        };
        Sequences { characters: windows(0), next: windows(1), context: self.context }
    }
}
