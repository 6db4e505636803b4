//! ONNX Runtime: loading the library, and a pool of sessions for each model.
//!
//! A session works for one caller at a time and uses one thread; parallelism comes from running
//! several captures at once. Two single-threaded sessions do two runs in half the time that one
//! session with two threads takes, and they don't spin while they wait.

use std::path::Path;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights};
use ort::value::{DynTensor, TensorElementType, TensorRef, ValueType};

use super::error::Error;
use super::manifest::Model;
use super::manifest::adapter::ImageInput;
use super::picture::Crop;
use crate::crypto::hash;

/// No model is larger than this, whatever a manifest says: 512 MiB.
pub const MAX_MODEL_BYTES: u64 = 512 << 20;

/// The ONNX Runtime library, loaded once for the whole process.
#[derive(Clone)]
pub struct Runtime(Environment);

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runtime(ONNX Runtime)")
    }
}

/// ONNX Runtime allows one environment per process; whoever comes first makes it.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

impl Runtime {
    /// Loads the library at `path`. Later calls return what the first successful one loaded,
    /// whatever their path: a process has one ONNX Runtime.
    ///
    /// # Errors
    /// [`Error::RuntimeMissing`], [`Error::RuntimeUnusable`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime.clone());
        }
        if !path.is_file() {
            return Err(Error::RuntimeMissing { path: path.to_owned() });
        }
        let unusable = |detail: String| Error::RuntimeUnusable { path: path.to_owned(), detail };
        // A bare file name would be searched for beside the program and in the system's folders.
        let path = path.canonicalize().map_err(|e| unusable(e.to_string()))?;
        let environment = ort::init_from(&path)
            .map_err(|e| unusable(e.to_string()))?
            .with_name("cameo")
            .with_telemetry(false)
            .build()
            .map_err(|e| unusable(e.to_string()))?;
        Ok(RUNTIME.get_or_init(|| Self(environment)).clone())
    }
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floating point.
    F32,
    /// 64-bit signed integer.
    I64,
}

/// A tensor that an adapter feeds or reads: its name, element type and extents; `None` is an
/// extent that varies from run to run.
#[derive(Clone, Debug)]
pub struct Port {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub element: Element,
    /// Extents, outermost first.
    pub extents: Vec<Option<usize>>,
}

impl Port {
    /// A port of 32-bit floats.
    pub fn f32(name: impl Into<String>, extents: &[Option<usize>]) -> Self {
        Self { name: name.into(), element: Element::F32, extents: extents.to_vec() }
    }
}

/// One input of a run.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// Floats with the extents of their tensor.
    F32(&'a [usize], &'a [f32]),
    /// One integer, as a tensor without extents.
    I64(i64),
}

/// One output of a run.
#[derive(Clone)]
pub struct Output {
    /// Extents, outermost first.
    pub extents: Vec<usize>,
    /// The elements, row by row.
    pub data: Vec<f32>,
}

/// Some sessions of one model.
pub struct Pool {
    id: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    idle: Mutex<Vec<Session>>,
    returned: Condvar,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({})", self.id)
    }
}

impl Pool {
    /// Reads the model's file from `dir`, checks it against the manifest (size, SHA-256) and
    /// against `inputs` and `outputs` (names, types, extents), and makes `sessions` sessions.
    /// The graph may have more outputs than are asked for, but no more inputs.
    ///
    /// # Errors
    /// [`Error::ModelMissing`], [`Error::ModelUnreadable`], [`Error::ModelAltered`],
    /// [`Error::ModelInvalid`].
    pub fn load(
        runtime: &Runtime,
        model: &Model,
        dir: &Path,
        inputs: Vec<Port>,
        outputs: Vec<Port>,
        sessions: usize,
    ) -> Result<Self, Error> {
        let bytes = read_checked(model, dir)?;
        let invalid = |detail: String| Error::ModelInvalid { id: model.id.clone(), detail };
        let packed = PrepackedWeights::new();
        let mut idle = Vec::new();
        for _ in 0..sessions.max(1) {
            let session = open(runtime, &bytes, &packed)
                .map_err(|e| invalid(format!("ONNX Runtime refuses it: {e}")))?;
            idle.push(session);
        }
        if let Some(session) = idle.first() {
            check(session, &inputs, &outputs).map_err(invalid)?;
        }
        Ok(Self {
            id: model.id.clone(),
            inputs,
            outputs,
            idle: Mutex::new(idle),
            returned: Condvar::new(),
        })
    }

    /// The manifest's id of the model.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs the model once, waiting for a free session. `inputs` are in the order of the ports
    /// given to [`Pool::load`], and so are the outputs. Blocks: call it from a thread that may.
    ///
    /// # Errors
    /// [`Error::Shape`] where an input doesn't fit its port; [`Error::Run`] where the runtime
    /// fails or an output has other extents than the graph declared.
    pub fn run(&self, inputs: &[Input<'_>]) -> Result<Vec<Output>, Error> {
        self.check_inputs(inputs)?;
        let mut lease = self.lease();
        let Some(session) = lease.session.as_mut() else {
            return Err(self.failed("no session".to_owned()));
        };
        self.run_on(session, inputs)
    }

    /// Runs a model whose only input is a picture of the size that `image` says; see [`Pool::run`].
    ///
    /// # Errors
    /// As of [`Crop::tensor`] and [`Pool::run`].
    pub fn run_on_crop(&self, image: &ImageInput, crop: &Crop) -> Result<Vec<Output>, Error> {
        let tensor = crop.tensor(image)?;
        self.run(&[Input::F32(&super::extents(image), &tensor)])
    }

    fn run_on(&self, session: &mut Session, inputs: &[Input<'_>]) -> Result<Vec<Output>, Error> {
        let failed = |e: ort::Error| self.failed(e.to_string());
        let mut values = Vec::with_capacity(inputs.len());
        for (port, input) in self.inputs.iter().zip(inputs) {
            let value = match *input {
                Input::F32(extents, data) => {
                    TensorRef::from_array_view((extents, data)).map_err(failed)?.into_dyn().into()
                }
                Input::I64(v) => {
                    let none: [usize; 0] = [];
                    let tensor: DynTensor =
                        ort::value::Tensor::from_array((none, vec![v])).map_err(failed)?.upcast();
                    ort::session::SessionInputValue::from(tensor)
                }
            };
            values.push((port.name.as_str(), value));
        }
        let outcome = session.run(values).map_err(failed)?;
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for port in &self.outputs {
            let value = outcome
                .get(&port.name)
                .ok_or_else(|| self.failed(format!("it gave no output {}", port.name)))?;
            let (shape, data) = value.try_extract_tensor::<f32>().map_err(failed)?;
            let extents: Vec<usize> =
                shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
            if !fits(&extents, &port.extents) {
                return Err(self.failed(format!("output {} has extents {extents:?}", port.name)));
            }
            outputs.push(Output { extents, data: data.to_vec() });
        }
        Ok(outputs)
    }

    fn check_inputs(&self, inputs: &[Input<'_>]) -> Result<(), Error> {
        let wrong = |detail| Err(Error::Shape { what: "model input", detail });
        if inputs.len() != self.inputs.len() {
            return wrong(format!("{} inputs for {}", inputs.len(), self.inputs.len()));
        }
        for (port, input) in self.inputs.iter().zip(inputs) {
            if let Input::F32(extents, data) = input {
                let elements: usize = extents.iter().product();
                if data.len() != elements || !fits(extents, &port.extents) {
                    return wrong(format!(
                        "{} elements as {extents:?} for {} of {:?}",
                        data.len(),
                        port.name,
                        port.extents
                    ));
                }
            }
        }
        Ok(())
    }

    fn failed(&self, detail: String) -> Error {
        Error::Run { id: self.id.clone(), detail }
    }

    fn lease(&self) -> Lease<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(session) = idle.pop() {
                return Lease { pool: self, session: Some(session) };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A session taken out of its pool; goes back when dropped.
struct Lease<'p> {
    pool: &'p Pool,
    session: Option<Session>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
            self.pool.returned.notify_one();
        }
    }
}

/// The bytes of a model's file, which are those the manifest names: what was checked is what gets
/// loaded, even where someone writes to the file meanwhile.
pub fn read_checked(model: &Model, dir: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read;

    let path = model.path(dir);
    let altered = |detail| Error::ModelAltered { id: model.id.clone(), detail };
    let unreadable =
        |source| Error::ModelUnreadable { id: model.id.clone(), path: path.clone(), source };
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::ModelMissing { id: model.id.clone(), path });
        }
        Err(e) => return Err(unreadable(e)),
    };
    let size = file.metadata().map_err(unreadable)?.len();
    if size != model.bytes || size > MAX_MODEL_BYTES {
        return Err(altered(format!("{size} bytes instead of {}", model.bytes)));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(size).read_to_end(&mut bytes).map_err(unreadable)?;
    if hash::sha256(&bytes) != model.sha256.0 {
        return Err(altered("its SHA-256 differs".to_owned()));
    }
    Ok(bytes)
}

fn open(runtime: &Runtime, bytes: &[u8], packed: &PrepackedWeights) -> ort::Result<Session> {
    Session::builder(&runtime.0)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_prepacked_weights(packed)?
        .commit_from_memory(bytes)
}

fn check(session: &Session, inputs: &[Port], outputs: &[Port]) -> Result<(), String> {
    if session.inputs().len() != inputs.len() {
        return Err(format!("it has {} inputs, not {}", session.inputs().len(), inputs.len()));
    }
    for (kind, ports, found) in
        [("input", inputs, session.inputs()), ("output", outputs, session.outputs())]
    {
        for port in ports {
            let Some(outlet) = found.iter().find(|o| o.name() == port.name) else {
                return Err(format!("it has no {kind} {}", port.name));
            };
            let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
                return Err(format!("its {kind} {} is not a tensor", port.name));
            };
            let element = match port.element {
                Element::F32 => TensorElementType::Float32,
                Element::I64 => TensorElementType::Int64,
            };
            // An extent below one is symbolic: it takes what it is given.
            let agree = shape.len() == port.extents.len()
                && shape.iter().zip(&port.extents).all(|(have, want)| {
                    *have < 1 || want.is_none_or(|w| i64::try_from(w) == Ok(*have))
                });
            if *ty != element || !agree {
                return Err(format!(
                    "its {kind} {} is {ty:?} {:?}, not {:?} {:?}",
                    port.name,
                    shape.iter().collect::<Vec<_>>(),
                    port.element,
                    port.extents
                ));
            }
        }
    }
    Ok(())
}

fn fits(extents: &[usize], port: &[Option<usize>]) -> bool {
    extents.len() == port.len()
        && extents.iter().zip(port).all(|(have, want)| want.is_none_or(|w| w == *have))
}
