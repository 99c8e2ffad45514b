(()=>{const root=document.getElementById(%(id)s);if(!root||root.dataset.ready)return;root.dataset.ready=1;
const values=%(values)s,frames=root.querySelectorAll('img'),inputs=root.querySelectorAll('input'),
outputs=root.querySelectorAll('output');root.querySelector('.explore-still').hidden=true;
const update=()=>{let k=0;inputs.forEach((e,i)=>{const v=values[i][+e.value];k=k*values[i].length+ +e.value;
outputs[i].textContent=v;e.setAttribute('aria-valuetext',v)});
frames.forEach((e,i)=>{e.hidden=i!==k;e.style.display=i===k?'':'none'})};
inputs.forEach(e=>e.addEventListener('input',update));update()})()
