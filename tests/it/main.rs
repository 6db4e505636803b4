
mod infer;
mod measure;
