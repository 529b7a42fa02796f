//! The data are what their README says.

use networks::data::Examples;
use networks::data::digits::digits;
use networks::data::text::play;
use networks::transfer::refit_accuracy;

#[test]
fn digits_are_what_their_readme_says() {
    let data = digits::<f32>().unwrap();
    assert_eq!(data.train.labels.len() + data.test.labels.len(), 1797);
    for images in [&data.train, &data.test] {
        assert!(images.pixels.iter().all(|x| (0.0..=1.0).contains(x)));
        assert!((0..10).all(|digit| images.labels.contains(&digit)));
    }
    let target = data.of(5..10);
    assert_eq!(target.test.classes, 5);
    // Linear classifiers on the pixels of digits are known to do well; chance is a fifth.
    let accuracy = refit_accuracy(|images| images.pixels.clone(), &target).unwrap();
    assert!((0.85..=1.0).contains(&accuracy), "{accuracy}");
}

#[test]
fn the_play_is_what_its_readme_says() {
    let play = play(32).unwrap();
    assert_eq!(play.train.length() + play.held_out.length(), 125_179);
    assert_eq!(play.held_out.length(), 12_517);
    assert_eq!(play.alphabet.len(), 68);
    assert!(play.alphabet.iter().all(char::is_ascii));

    let read =
        |characters: &[usize]| characters.iter().map(|&c| play.alphabet[c]).collect::<String>();
    let first = play.train.select(&[1]);
    assert_eq!(read(&first.characters), "AS YOU LIKE IT\n\n\n\tDRAMATIS PERSO");
    assert_eq!(read(&first.next), "S YOU LIKE IT\n\n\n\tDRAMATIS PERSON");
    // The last window ends with the text.
    let last = play.held_out.select(&[play.held_out.count() - 1]);
    assert!(read(&last.next).ends_with("[Exeunt]\n"));
}
