
mod infer;
