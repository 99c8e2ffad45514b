// The frames of a figure are fetched when a reader comes to its sliders: then no move has to wait for one.
document.querySelectorAll('.explore').forEach(figure => {
  const fetchAll = () => figure.querySelectorAll('img').forEach(frame => { frame.loading = 'eager' });
  for (const sign of ['pointerenter', 'focusin'])
    figure.addEventListener(sign, fetchAll, {once: true});
});
