//! How things look that are filmed instead of a person, as filters of `ffmpeg` on the common picture.

use super::picture::FPS;

/// A hand that does not keep still, and a camera's noise.
pub(super) fn held(sway: f64, seed: u64) -> String {
    format!(
        "scale=520:520,crop=480:480:x='20+{sway}*sin(2*t)':y='20+{sway}*sin(1.3*t)',{}",
        noise(6, seed)
    )
}

/// A camera's noise.
pub(super) fn noise(strength: u32, seed: u64) -> String {
    format!("noise=alls={strength}:allf=t:all_seed={}", seed % 1_000_000)
}

/// One frame for so many seconds.
pub(super) fn still(at_s: f64, seconds: f64) -> String {
    let at = (at_s * f64::from(FPS)) as u32;
    let frames = (seconds * f64::from(FPS)) as u32;
    format!(
        "trim=start_frame={at}:end_frame={},loop={frames}:1:0,setpts=N/{FPS}/TB,trim=duration={seconds}",
        at + 1
    )
}

/// A flat picture turned about its upright middle to and fro, the nearer edge higher.
pub(super) fn swing(by: f64) -> String {
    let one = format!("{by}*max(0,sin(on*0.064))");
    let two = format!("{by}*max(0,-sin(on*0.064))");
    format!(
        "perspective=eval=frame:x0='W*{one}':y0='H*0.6*{one}':x1='W-W*{two}':y1='H*0.6*{two}'\
         :x2='W*{one}':y2='H-H*0.6*{one}':x3='W-W*{two}':y3='H-H*0.6*{two}'"
    )
}

/// A pattern of luma, drawn once, that `mode` blends over the picture before it.
fn over(luma: &str, moving: &str, mode: &str) -> String {
    format!(
        "format=yuv420p[below];nullsrc=s=480x480:r=25,geq=lum='{luma}':cb=128:cr=128,\
         trim=end_frame=1,loop=-1:1:0{moving},format=yuv420p[over];\
         [below][over]blend=c0_mode={mode}:shortest=1"
    )
}

/// Several patterns need links of several names.
pub(super) fn numbered(filters: &[String]) -> String {
    let one = |(i, f): (usize, &String)| {
        f.replace("[below]", &format!("[below{i}]")).replace("[over]", &format!("[over{i}]"))
    };
    filters.iter().enumerate().map(one).collect::<Vec<_>>().join(",")
}

/// Two pixel grids, one seen through the other.
pub(super) fn moire(depth: f64) -> String {
    let half = depth / 2.0;
    over(&format!("{}+{half}*sin(X*2.1+Y*0.35)*sin(Y*1.9-X*0.2)", 255.0 - half), "", "multiply")
}

/// A dark band that rolls down the picture.
pub(super) fn rolling_band(depth: f64) -> String {
    let luma = format!("255-{depth}*(0.5+0.5*cos(2*PI*Y/240))");
    over(&luma, ",scroll=vertical=0.013", "multiply")
}

/// A lamp reflected in glass.
pub(super) fn lamp(strength: f64) -> String {
    over(&format!("{strength}*exp(-((X-335)*(X-335)+(Y-150)*(Y-150))/7000)"), "", "screen")
}

/// Halftone dots.
pub(super) fn dots(depth: f64) -> String {
    let luma = format!("255-{depth}*(0.5+0.5*sin((X+Y)*1.1)*sin((X-Y)*1.1))");
    over(&luma, "", "multiply")
}
