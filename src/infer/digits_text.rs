//! From the words a general transcriber writes to the digits that were spoken.
//!
//! A person asked for "4 7 1" may say "four seven one", "forty-seven one" or "double oh four", and
//! the transcriber may write words, numerals or both. This is the pure part: words in, digits out.

use std::ops::Range;

/// A digit and the words it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigitInText {
    /// 0–9.
    pub digit: u8,
    /// Indices of the words that spell the number this digit is part of.
    pub words: Range<usize>,
    /// Which of that number's digits this is, and how many it has.
    pub place: (usize, usize),
}

/// The digits in `text`, in order.
pub fn digits(text: &str) -> Vec<u8> {
    let words: Vec<&str> = text.split_whitespace().collect();
    digits_in_words(&words).into_iter().map(|d| d.digit).collect()
}

/// The digits in a sequence of words, each with the words it came from.
///
/// Cardinals are read as they are written in figures: "forty-seven" is 4 7, "two hundred and
/// six" is 2 0 6. "oh" and words that sound like a digit ("to", "for", "ate", "won") count only
/// beside digits, so that ordinary speech doesn't turn into numbers.
pub fn digits_in_words(words: &[&str]) -> Vec<DigitInText> {
    let pieces: Vec<Piece> = words.iter().enumerate().flat_map(|(i, w)| pieces_of(w, i)).collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < pieces.len() {
        let (values, used) = number_at(&pieces, at);
        if let (Some(first), Some(last)) = (pieces.get(at), pieces.get(at + used - 1)) {
            let count = values.len();
            out.extend(values.into_iter().enumerate().map(|(i, digit)| DigitInText {
                digit,
                words: first.word..last.word + 1,
                place: (i, count),
            }));
        }
        at += used;
    }
    out
}

/// What one piece of a word means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    /// Written in figures.
    Figures(Vec<u8>),
    /// "zero" to "nine".
    Unit(u8),
    /// "ten" to "nineteen".
    Teen(u8),
    /// "twenty" to "ninety", by the first digit.
    Ten(u8),
    Hundred,
    Thousand,
    /// "double", "triple".
    Repeat(usize),
    And,
    /// "oh": a zero beside digits.
    Oh,
    /// Sounds like a digit: counts only between digits.
    Homophone(u8),
    Other,
}

#[derive(Clone, Debug)]
struct Piece {
    meaning: Meaning,
    word: usize,
}

/// Splits a word at hyphens and other punctuation and looks each piece up.
fn pieces_of(word: &str, index: usize) -> Vec<Piece> {
    word.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|p| !p.is_empty())
        .map(|p| Piece { meaning: meaning_of(&p.to_lowercase()), word: index })
        .collect()
}

/// The digits' names, by digit.
pub const WORDS: [&str; 10] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// What a word of a transcript is when digits are read one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A digit's name; "oh" is a zero.
    Digit(u8),
    /// Part of a number beyond nine, or a word that leaves open which digits were said: "forty",
    /// "hundred", "and", "double", or "o", which may be the letter.
    Number,
    /// Anything else.
    Other,
}

/// What a word of a transcript is when digits are read one by one.
pub fn word(word: &str) -> Word {
    let word = word.to_lowercase();
    match meaning_of(&word) {
        Meaning::Unit(digit) => Word::Digit(digit),
        Meaning::Oh if word == "oh" => Word::Digit(0),
        Meaning::Homophone(_) | Meaning::Other if word != "million" => Word::Other,
        _ => Word::Number,
    }
}

fn meaning_of(piece: &str) -> Meaning {
    const TEENS: [&str; 10] = [
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] =
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let place = |list: &[&str]| list.iter().position(|w| *w == piece).map(|i| i as u8);

    if piece.bytes().all(|b| b.is_ascii_digit()) {
        return Meaning::Figures(piece.bytes().map(|b| b - b'0').collect());
    }
    if let Some(i) = place(&WORDS) {
        return Meaning::Unit(i);
    }
    if let Some(i) = place(&TEENS) {
        return Meaning::Teen(i);
    }
    if let Some(i) = place(&TENS) {
        return Meaning::Ten(i + 2);
    }
    match piece {
        "niner" => Meaning::Unit(9),
        "fourty" => Meaning::Ten(4),
        "nought" | "naught" => Meaning::Unit(0),
        "hundred" => Meaning::Hundred,
        "thousand" => Meaning::Thousand,
        "double" => Meaning::Repeat(2),
        "triple" => Meaning::Repeat(3),
        "and" => Meaning::And,
        "oh" | "o" => Meaning::Oh,
        "won" => Meaning::Homophone(1),
        "to" | "too" => Meaning::Homophone(2),
        "for" | "fore" => Meaning::Homophone(4),
        "ate" => Meaning::Homophone(8),
        _ => Meaning::Other,
    }
}

/// The digits of the number that starts at `at` (none if it is another word), and the pieces used
/// (at least one).
fn number_at(pieces: &[Piece], at: usize) -> (Vec<u8>, usize) {
    match meaning(pieces, at) {
        Some(Meaning::Figures(digits)) => (digits.clone(), 1),
        Some(Meaning::Unit(_) | Meaning::Teen(_) | Meaning::Ten(_)) => cardinal_at(pieces, at),
        Some(Meaning::Repeat(times)) => match meaning(pieces, at + 1) {
            Some(Meaning::Unit(d)) => (vec![*d; *times], 2),
            Some(Meaning::Figures(f)) if f.len() == 1 => (vec![f[0]; *times], 2),
            Some(Meaning::Oh) => (vec![0; *times], 2),
            _ => (Vec::new(), 1),
        },
        Some(Meaning::Oh) if beside_digits(pieces, at).0 || beside_digits(pieces, at).1 => {
            (vec![0], 1)
        }
        Some(Meaning::Homophone(d)) if beside_digits(pieces, at) == (true, true) => (vec![*d], 1),
        _ => (Vec::new(), 1),
    }
}

/// A cardinal in words: "nine", "forty seven", "two hundred and six", "seven thousand one hundred".
fn cardinal_at(pieces: &[Piece], at: usize) -> (Vec<u8>, usize) {
    let Some((mut value, mut used)) = below_thousand(pieces, at) else { return (Vec::new(), 1) };
    if value > 0 && meaning(pieces, at + used) == Some(&Meaning::Thousand) {
        used += 1;
        value *= 1000;
        let skip = usize::from(meaning(pieces, at + used) == Some(&Meaning::And));
        // A single digit after "thousand" is part of the number only with "and": "two thousand
        // four" is rare, and a string read digit by digit is not.
        if let Some((rest, n)) = below_thousand(pieces, at + used + skip)
            && (skip == 1 || rest >= 10)
        {
            value += rest;
            used += skip + n;
        }
    }
    (value.to_string().bytes().map(|b| b - b'0').collect(), used)
}

/// A cardinal below a thousand: its value and the pieces used.
fn below_thousand(pieces: &[Piece], at: usize) -> Option<(u32, usize)> {
    let (mut value, mut used) = below_hundred(pieces, at)?;
    if value > 0 && value < 10 && meaning(pieces, at + used) == Some(&Meaning::Hundred) {
        used += 1;
        value *= 100;
        let skip = usize::from(meaning(pieces, at + used) == Some(&Meaning::And));
        if let Some((rest, n)) = below_hundred(pieces, at + used + skip)
            && (skip == 1 || rest >= 10)
        {
            value += rest;
            used += skip + n;
        }
    }
    Some((value, used))
}

fn below_hundred(pieces: &[Piece], at: usize) -> Option<(u32, usize)> {
    match meaning(pieces, at)? {
        Meaning::Unit(d) => Some((u32::from(*d), 1)),
        Meaning::Teen(d) => Some((10 + u32::from(*d), 1)),
        Meaning::Ten(t) => match meaning(pieces, at + 1) {
            Some(Meaning::Unit(d)) if *d > 0 => Some((u32::from(t * 10 + d), 2)),
            _ => Some((u32::from(t * 10), 1)),
        },
        _ => None,
    }
}

fn meaning(pieces: &[Piece], at: usize) -> Option<&Meaning> {
    pieces.get(at).map(|p| &p.meaning)
}

/// Whether the nearest pieces before and after `at` are digits ("oh" and homophones are passed over).
fn beside_digits(pieces: &[Piece], at: usize) -> (bool, bool) {
    let soft = |m: &Meaning| matches!(m, Meaning::Oh | Meaning::Homophone(_));
    let hard = |m: &Meaning| {
        matches!(
            m,
            Meaning::Figures(_)
                | Meaning::Unit(_)
                | Meaning::Teen(_)
                | Meaning::Ten(_)
                | Meaning::Repeat(_)
        )
    };
    let before = pieces[..at].iter().rev().map(|p| &p.meaning).find(|m| !soft(m));
    let after = pieces[at + 1..].iter().map(|p| &p.meaning).find(|m| !soft(m));
    (before.is_some_and(hard), after.is_some_and(hard))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::words("four seven one nine", &[4, 7, 1, 9])]
    #[case::figures(" 4719.", &[4, 7, 1, 9])]
    #[case::figures_apart("4, 7, 1, 9", &[4, 7, 1, 9])]
    #[case::hyphens("4-7-1-9", &[4, 7, 1, 9])]
    #[case::punctuation("Four. Seven! One, nine?", &[4, 7, 1, 9])]
    #[case::tens("forty-seven nineteen", &[4, 7, 1, 9])]
    #[case::tens_alone("forty seven twenty", &[4, 7, 2, 0])]
    #[case::ten_then_zero("forty zero", &[4, 0, 0])]
    #[case::hundreds("two hundred and six", &[2, 0, 6])]
    #[case::hundreds_tens("eight hundred and twenty three", &[8, 2, 3])]
    #[case::thousands("seven thousand one hundred and eighty six", &[7, 1, 8, 6])]
    #[case::oh("one five oh four four", &[1, 5, 0, 4, 4])]
    #[case::oh_o("o 4 7", &[0, 4, 7])]
    #[case::double("double oh seven", &[0, 0, 7])]
    #[case::triple("triple 4 one", &[4, 4, 4, 1])]
    #[case::homophones("one to for five", &[1, 2, 4, 5])]
    #[case::speech("Oh, I want to go for a walk, I ate too much", &[])]
    #[case::interjection("Oh! Hello there", &[])]
    #[case::sentence("My numbers are six, three, and nine.", &[6, 3, 9])]
    #[case::bare_scale("a hundred thousand", &[])]
    #[case::empty("", &[])]
    fn reads(#[case] text: &str, #[case] expected: &[u8]) {
        assert_eq!(digits(text), expected);
    }

    #[test]
    fn a_digit_knows_its_words() {
        let found = digits_in_words(&["so", "forty-seven", "nine"]);
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].digit, found[0].words.clone(), found[0].place), (4, 1..2, (0, 2)));
        assert_eq!((found[1].digit, found[1].words.clone(), found[1].place), (7, 1..2, (1, 2)));
        assert_eq!((found[2].digit, found[2].words.clone(), found[2].place), (9, 2..3, (0, 1)));
    }

    proptest! {
        #[test]
        fn never_panics_and_ranges_hold(text in ".{0,80}") {
            let words: Vec<&str> = text.split_whitespace().collect();
            for d in digits_in_words(&words) {
                prop_assert!(d.digit < 10 && d.words.start < d.words.end && d.words.end <= words.len());
            }
        }

        #[test]
        fn figures_and_words_agree(ds in proptest::collection::vec(0_u8..10, 0..12)) {
            const W: [&str; 10] =
                ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
            let spelled: Vec<&str> = ds.iter().map(|d| W[usize::from(*d)]).collect();
            let figures: String = ds.iter().map(|d| char::from(b'0' + d)).collect();
            prop_assert_eq!(digits(&spelled.join(" ")), ds.clone());
            prop_assert_eq!(digits(&figures), ds);
        }
    }
}
