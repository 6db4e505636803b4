//! The key hierarchy as the service uses it, and the stability of what is stored.

use std::sync::Arc;
use std::time::Duration;

use cameo::crypto::apikey::ApiKey;
use cameo::crypto::cose::{self, Profile};
use cameo::crypto::keyring::{Keyring, Slot};
use cameo::crypto::master::Owner;
use cameo::crypto::{KeyId, KeySet, MasterKey, MasterKeys, SigningKey, SubjectKey};
use cameo::env::{Millis, SeededEntropy};

const OWNER: Owner<'_> = Owner { subject: "sub_vector", version: 1 };
const LEAD: Duration = Duration::from_hours(1);
const OVERLAP: Duration = Duration::from_hours(2);

/// What an earlier version stored must open for ever. A failure here means that the format
/// changed: give it a new format byte and keep reading the old one.
#[test]
fn stored_values_of_format_1_still_open() {
    let master = "8f4a2c6e01b3d5f7980a1c3e5f70819233445566778899aabbccddeeff001122";
    let kek = MasterKeys::from(MasterKey::parse(master).unwrap());
    let seed = [9; 32];
    let entropy = SeededEntropy::new(77);
    let key = SubjectKey::generate(&entropy);
    let wrapped = key.wrap(&kek, OWNER, &entropy).unwrap();
    let sealed = key.seal("template", OWNER, b"a template", &entropy).unwrap();
    let signing = SigningKey::from_seed(&seed).unwrap();
    let wrapped_seed = signing.wrap(&kek, "token", &entropy).unwrap();
    let made = [&wrapped, &sealed, &wrapped_seed].map(hex::encode);
    assert_eq!(made.each_ref().map(String::as_str), STORED, "{made:#?}");

    let [wrapped, sealed, wrapped_seed] = STORED.map(|s| hex::decode(s).unwrap());
    let key = SubjectKey::unwrap(&kek, &wrapped, OWNER).unwrap();
    assert_eq!(key.open("template", OWNER, &sealed).unwrap().as_slice(), b"a template");
    let again = SigningKey::unwrap(&kek, &wrapped_seed, "token", signing.id()).unwrap();
    assert_eq!(again.sign(b"m"), signing.sign(b"m"));
}

const STORED: [&str; 3] = [
    "011d4a4fbc8d04565101027fbfb23f317b4684d9b682d9cf688193743d37d14dff12e0887d92fbe9d31081d4a8f1\
     ec1f5551e908806d6a2c0a032197d62e65315936da3b25d9",
    "0157127fe840aff6f19ce93df32ada7eee487cefe3a535ef3217a1313bfd49d9f83e205249c42d",
    "011d4a4fbc8d04565101f7883b9993907d0b31be88eaf66b605956d0ab79acbf23ec1bae88f892ea81b27e3df695\
     ded261b2178ffd4017873a6d3768119fb157e9ac07287f97",
];

/// Verifiers that cache the key set for up to `LEAD` never meet a key they do not know, and every
/// message verifies as long as it may live, through three rotations.
#[test]
fn a_rotation_is_invisible_to_verifiers() {
    let entropy = SeededEntropy::new(3);
    let kek = MasterKeys::from(MasterKey::generate(&entropy));
    let profile =
        Profile { typ: "application/x", content_type: None, external_aad: b"", max_len: 1000 };
    let minute = |m: i64| Millis(m * 60_000);
    let mut ring = Keyring::default();
    let mut cached = KeySet::default();
    let mut sent: Vec<(i64, Vec<u8>)> = Vec::new();
    for now in 0..900 {
        if [0, 200, 450, 500].contains(&now) {
            let key = SigningKey::generate(&entropy).unwrap();
            let stored = key.wrap(&kek, "token", &entropy).unwrap();
            let key = SigningKey::unwrap(&kek, &stored, "token", key.id()).unwrap();
            let plan = ring.plan_rotation(minute(now), LEAD, OVERLAP);
            ring = ring.rotated(&plan, Arc::new(key));
        }
        if now % 60 == 0 {
            cached = KeySet::from_cose(&ring.published(minute(now)).to_cose()).unwrap();
        }
        let signer = ring.signer(minute(now)).unwrap();
        sent.push((now, cose::sign(signer, &profile, b"m".to_vec()).unwrap()));
        for (at, message) in sent.iter().filter(|(at, _)| [0, 1, 59, 60].contains(&(now - at))) {
            let verified = cose::verify(message, &profile, &cached);
            assert!(verified.is_ok(), "sent {at}, verified {now}: {verified:?}");
        }
    }
}

#[test]
fn a_ring_reads_back_from_what_is_stored() {
    let key = Arc::new(SigningKey::from_seed(&[1; 32]).unwrap());
    let id = KeyId::parse(&key.id().to_string()).unwrap();
    let ring = Keyring::new(vec![Slot { key, not_before: Millis(5), retire_at: Some(Millis(9)) }]);
    assert!(ring.signer(Millis(4)).is_err());
    assert_eq!(ring.signer(Millis(5)).unwrap().id(), id);
    assert!(ring.signer(Millis(9)).is_err());
    assert!(ring.published(Millis(9)).is_empty());
}

#[test]
fn nothing_secret_is_printed() {
    let entropy = SeededEntropy::new(8);
    let master = MasterKey::generate(&entropy);
    let api_key = ApiKey::generate("admin", &entropy).unwrap();
    let signing = SigningKey::from_seed(&[5; 32]).unwrap();
    let printed =
        format!("{master:?} {:?} {api_key:?} {signing:?}", MasterKeys::from(master.clone()));
    for secret in [master.to_hex().as_str(), &api_key.expose()[12..], &hex::encode([5u8; 32])] {
        assert!(!printed.contains(secret) && !printed.contains(&secret[..16]));
    }
}
