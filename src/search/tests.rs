//! What an index promises, against brute force.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::template::{Metric, norm};
use crate::env::{Entropy, SeededEntropy};

fn key(n: usize) -> Key {
    let mut key = Key::default();
    key[..8].copy_from_slice(&(n as u64).to_le_bytes());
    key
}

/// Values of about the normal distribution: sums of sixteen bytes.
fn noise(entropy: &dyn Entropy, dim: usize) -> Vec<f32> {
    let mut bytes = vec![0; dim * 16];
    entropy.fill(&mut bytes);
    let sum = |b: &[u8]| b.iter().map(|b| f32::from(*b) - 127.5).sum::<f32>();
    bytes.chunks_exact(16).map(sum).collect()
}

fn mix(a: &[f32], share: f32, b: &[f32]) -> Vec<f32> {
    let (na, nb) = (norm(a), norm(b));
    let rest = (1.0 - share * share).sqrt();
    a.iter().zip(b).map(|(a, b)| share * a / na + rest * b / nb).collect()
}

/// `people` with `each` vectors of cosine `0.8 * 0.8` to one another, and one more of each to ask with.
fn crowd(seed: u64, dim: usize, people: usize, each: usize) -> Vec<(Vec<Vec<f32>>, Vec<f32>)> {
    let entropy = SeededEntropy::new(seed);
    let person = |_| {
        let centre = noise(&entropy, dim);
        let one = || mix(&centre, 0.8, &noise(&entropy, dim));
        ((0..each).map(|_| one()).collect(), one())
    };
    (0..people).map(person).collect()
}

fn filled(crowd: &[(Vec<Vec<f32>>, Vec<f32>)], index: &mut Index) {
    for (person, (vectors, _)) in crowd.iter().enumerate() {
        for v in vectors {
            index.insert(key(person), v).unwrap();
        }
    }
}

/// The nearest of all, and how far.
fn exact(
    crowd: &[(Vec<Vec<f32>>, Vec<f32>)],
    metric: Metric,
    query: &[f32],
    except: Option<usize>,
) -> (usize, f32) {
    let all = crowd.iter().enumerate().filter(|(person, _)| Some(*person) != except);
    let distances = all.flat_map(|(person, (vectors, _))| {
        vectors.iter().map(move |v| (person, metric.distance(query, v)))
    });
    distances.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

#[test]
fn the_nearest_person_is_found_as_by_brute_force() {
    // The prefilter keeps a tenth: a smaller part than in use would make the test say less.
    for (dim, metric) in [
        (128, Metric::Euclidean),
        (128, Metric::Cosine),
        (320, Metric::Cosine),
        (512, Metric::Cosine),
    ] {
        let crowd = crowd(dim as u64, dim, 80, 4);
        let mut index = Index::new(dim, metric).unwrap().with_candidates(32);
        filled(&crowd, &mut index);
        assert_eq!(index.len(), 320);
        for (_, query) in &crowd {
            let (person, distance) = exact(&crowd, metric, query, None);
            let hit = index.nearest(query, 1, None).unwrap()[0];
            assert_eq!(hit.key, key(person), "{dim} {metric:?}");
            assert!((hit.distance - distance).abs() < 0.005, "{} {distance}", hit.distance);
        }
    }
}

#[test]
fn short_vectors_are_compared_with_all_even_where_nobody_is_near() {
    let crowd = crowd(9, 128, 100, 2);
    let mut index = Index::new(128, Metric::Euclidean).unwrap();
    filled(&crowd, &mut index);
    let mut found = 0;
    for (person, (_, query)) in crowd.iter().enumerate() {
        // A stranger: their own vectors don't count.
        let (nearest, _) = exact(&crowd, Metric::Euclidean, query, Some(person));
        let hit = index.nearest(query, 1, Some(&key(person))).unwrap()[0];
        assert_ne!(hit.key, key(person));
        found += usize::from(hit.key == key(nearest));
    }
    // Among strangers two can be as far as each other.
    assert!(found >= 98, "{found} of 100");
}

#[test]
fn each_key_is_told_once_the_nearest_first() {
    let crowd = crowd(3, 64, 20, 5);
    let mut index = Index::new(64, Metric::Cosine).unwrap();
    filled(&crowd, &mut index);
    let hits = index.nearest(&crowd[7].1, 6, None).unwrap();
    assert_eq!((hits.len(), hits[0].key), (6, key(7)));
    assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance && a.key != b.key));
    assert!(index.nearest(&crowd[7].1, 0, None).unwrap().is_empty());
}

#[test]
fn vectors_without_a_direction_are_refused() {
    let mut index = Index::new(3, Metric::Euclidean).unwrap();
    for bad in [
        [0.0, 0.0, 0.0],
        [f32::NAN, 1.0, 1.0],
        [f32::INFINITY, 1.0, 1.0],
        [f32::MAX, f32::MAX, 1.0],
        [1e-40, 0.0, 0.0],
        [1e-30, 0.0, 0.0],
    ] {
        assert_eq!(index.insert(key(1), &bad), Err(Refused::NoDirection), "{bad:?}");
        assert_eq!(index.nearest(&bad, 1, None), Err(Refused::NoDirection));
    }
    assert_eq!(index.insert(key(1), &[1.0]), Err(Refused::Dimension { expected: 3, found: 1 }));
    assert!(index.is_empty() && !index.contains(&key(1)));
    assert!(index.nearest(&[1.0, 0.0, 0.0], 3, None).unwrap().is_empty());
    for dim in [0, MAX_DIM + 1] {
        assert!(Index::new(dim, Metric::Cosine).is_err());
    }
}

#[test]
fn readers_share_an_index() {
    let crowd = crowd(5, 32, 50, 1);
    let mut index = Index::new(32, Metric::Cosine).unwrap();
    filled(&crowd, &mut index);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (person, (_, query)) in crowd.iter().enumerate() {
                    assert_eq!(index.nearest(query, 1, None).unwrap()[0].key, key(person));
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is inserted and removed in whatever order, the index holds what a map would.
    #[test]
    fn removal_removes(
        steps in prop::collection::vec((any::<bool>(), 0usize..12), 1..60),
        seed in any::<u64>(),
    ) {
        let dim = 260;
        let entropy = SeededEntropy::new(seed);
        let mut index = Index::new(dim, Metric::Cosine).unwrap().with_candidates(4);
        let mut held: BTreeMap<usize, Vec<Vec<f32>>> = BTreeMap::new();
        for (insert, n) in steps {
            if insert {
                let v = noise(&entropy, dim);
                index.insert(key(n), &v).unwrap();
                held.entry(n).or_default().push(v);
            } else {
                let known = held.remove(&n).map_or(0, |v| v.len());
                prop_assert_eq!(index.remove(&key(n)), known);
            }
            prop_assert_eq!(index.len(), held.values().map(Vec::len).sum::<usize>());
        }
        for n in 0..12 {
            prop_assert_eq!(index.contains(&key(n)), held.contains_key(&n));
            for v in held.get(&n).into_iter().flatten() {
                let hit = index.nearest(v, 1, None).unwrap()[0];
                prop_assert_eq!(hit.key, key(n));
                prop_assert!(hit.distance.abs() < 0.002);
                // Nothing of it is told where it is left out.
                let others = index.nearest(v, 12, Some(&key(n))).unwrap();
                prop_assert!(others.iter().all(|h| h.key != key(n) && held.len() > 1));
            }
        }
    }
}
