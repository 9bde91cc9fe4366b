const slider = document.getElementById("opacity");
slider.addEventListener("input", () => {
  document.documentElement.style.setProperty("--opacity", slider.value / 100);
  document.getElementById("share").textContent = `${slider.value} %`;
});
