//! Enrolled people without a video, for what comes after the enrolment.

use std::time::Duration;

use cameo::crypto::KeySet;
use cameo::domain::challenge::{Challenge, Motion};
use cameo::domain::evidence::Pose;
use cameo::domain::ids::VerificationId;
use cameo::domain::key_frame::View;
use cameo::domain::template::{
    EmbeddingModel, FaceTemplate, Metric, PoseBin, TEMPLATE_VERSION, Template, VoiceTemplate,
};
use cameo::domain::verification::State;
use cameo::env::SeededEntropy;
use cameo::run_tx;
use cameo::store::key_frames::{self, KeyFrame};
use cameo::store::verifications::{self, Job, NewCapture, NewVerification, Settlement};
use cameo::token::{self, Expectations, Verified};
use serde_json::{Value, json};

use super::app::{Answer, TestApp};

const HOUR: Duration = Duration::from_hours(1);

/// A template whose vectors are found nowhere else.
pub(crate) fn template(seed: u32) -> Template {
    let model = |id: &str, dim| EmbeddingModel {
        id: id.into(),
        sha256: "ab".repeat(32),
        dim,
        metric: Metric::Euclidean,
    };
    let vector = |n: u32, len: u32| -> Vec<f32> {
        (0..len).map(|i| (seed * 7 + n) as f32 + (i as f32 + 1.37).sqrt() * 0.113).collect()
    };
    let face = |bin, n| FaceTemplate {
        bin,
        pose: Pose { yaw: 1.0, pitch: 2.0, roll: 0.5 },
        vector: vector(n, 128),
        keypoints: [[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.42, 0.6], [0.58, 0.6]],
        frame: Some([640, 480]),
        quality: 81,
    };
    Template {
        version: TEMPLATE_VERSION,
        model: model("given-face", 128),
        faces: vec![face(PoseBin::Frontal, 1), face(PoseBin::Left, 2)],
        voice: Some(VoiceTemplate {
            model: model("given-voice", 16),
            vector: vector(3, 16),
            speech_ms: 3000,
        }),
    }
}

impl TestApp {
    /// An enrolled person whose consent lets everyone use them socially, voice included.
    pub(crate) async fn given(&self, subject: &str, seed: u32) -> String {
        let app = self.app_id.parse().unwrap();
        let who = subject.parse().unwrap();
        let cameo = self.services.enrol_given(&app, &who, &template(seed)).await.unwrap();
        let wish = json!({
            "audience": "everyone", "purposes": ["social"], "voice": true, "text_version": "t1"
        });
        let given = self.put(&format!("/v1/cameos/{cameo}/consent"), &self.app, &wish).await;
        assert_eq!(given.status, 200, "{}", String::from_utf8_lossy(&given.body));
        cameo.to_string()
    }

    /// Puts another verification of a person into review, with a key frame, and returns its sealed bytes.
    pub(crate) async fn picture_in_review(&self, subject: &str) -> Vec<u8> {
        let (id, now) = (VerificationId::new(&*self.clock, &SeededEntropy::new(99)), self.now());
        let new = NewVerification {
            id: id.clone(),
            subject: subject.parse().unwrap(),
            app_key: self.app_id.parse().unwrap(),
            locale: "en".into(),
            consent_text_version: "t1".into(),
            challenge: Challenge::new(vec![4; 6], vec![Motion::Left], now, now.plus(HOUR)).unwrap(),
            client_token_hash: [9; 32],
            client_token_expires: now,
            attested_age: None,
            created: now,
        };
        let capture = NewCapture { file: id.as_str(), sha256: &[8; 32], bytes: 1 };
        let settlement = Settlement {
            state: State::Review,
            verdict: None,
            quality: None,
            timings: None,
            cameo: None,
            failure: None,
            evidence_sealed: None,
            candidate_sealed: None,
            keep_capture: false,
            at: now,
        };
        // Not text, and found nowhere else; long enough to be no accident.
        let sealed: Vec<u8> = (0..800u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect();
        let frame = KeyFrame { n: 1, view: View::Frontal, t_ms: 1_000 };
        run_tx!(self.services.db(), "test.picture", |tx| {
            verifications::insert(tx, &new).await?;
            assert!(verifications::attach_capture(tx, &id, 1, &capture, now).await?);
            verifications::claim(tx, "test", now, now.plus(HOUR)).await?;
            let job = Job { id: &id, attempt: 1, worker: "test" };
            assert!(verifications::settle(tx, &job, &settlement).await?);
            key_frames::insert(tx, &id, 1, &frame, &sealed, now).await
        })
        .unwrap();
        sealed
    }

    /// What a generator is answered for a social use.
    pub(crate) async fn resolve(&self, cameo: &str) -> Answer {
        let body = json!({ "cameo_id": cameo, "requester": "user-7", "purpose": "social" });
        self.post("/v1/resolve", &self.generator, &body).await
    }

    /// The same, permitted: the answer and the token.
    pub(crate) async fn granted(&self, cameo: &str) -> (Value, Verified) {
        let answer = self.resolve(cameo).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let answer = answer.json();
        let verified = self.verified(answer["token"].as_str().unwrap(), &self.generator_id).await;
        (answer, verified)
    }

    /// A token that holds now.
    pub(crate) async fn verified(&self, token: &str, audience: &str) -> Verified {
        use base64::Engine;
        let token = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
        let issuer = self.services.settings().issuer.clone();
        let expect = Expectations::new(&issuer, audience, self.now());
        token::verify(&token, &self.keys().await, &expect).unwrap()
    }

    /// The service's token keys.
    pub(crate) async fn keys(&self) -> KeySet {
        KeySet::from_cose(&self.get("/.well-known/cose-keys", "").await.body).unwrap()
    }
}
