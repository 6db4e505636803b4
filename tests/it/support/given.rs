//! Enrolled people without a video, for what comes after the enrolment.

use cameo::crypto::KeySet;
use cameo::domain::evidence::Pose;
use cameo::domain::template::{
    EmbeddingModel, FaceTemplate, Metric, PoseBin, TEMPLATE_VERSION, Template, VoiceTemplate,
};
use cameo::token::{self, Expectations, Verified};
use serde_json::{Value, json};

use super::app::{Answer, TestApp};

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
