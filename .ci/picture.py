"""nbs/preview.png, what a link to the site is shown with: python .ci/picture.py

Made of the library's own numbers: the relations of a teacher's and a student's logits, and the rows
of the study. Run it when these change."""
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, torch
from mldr_kd.dfra import relation_matrices
from mldr_kd.run.tables import read_rows, summary

nbs = Path(__file__).resolve().parent.parent/'nbs'
blue, green, orange, ink, soft = '#1f4e79', '#1b6e53', '#a85a08', '#1c2733', '#57606a'
logits = {'Teacher': [2., .4, -1.2, 1.1, -.6], 'Student': [1.2, .9, -.8, .2, -.9]}
pairs = {'ViT to ResNet': 'study_vit_resnet', 'ResNet to ViT': 'study_resnet_vit',
         'ResNet to Mixer': 'study_resnet_mixer', 'ResNet to Vision Mamba': 'study_resnet_vim'}

def picture():
    "1200 by 630 pixels: the title, two relations, one result"
    plt.rcParams.update({'font.size': 15, 'text.color': ink, 'axes.labelcolor': ink})
    fig = plt.figure(figsize=(12, 6.3), dpi=100)
    fig.text(.05, .86, 'mldr_kd', fontsize=42, weight='bold', color=blue)
    fig.text(.05, .765, 'Cross-architecture knowledge distillation for PyTorch', fontsize=29)
    for k, (name, z) in enumerate(logits.items()):
        ax = fig.add_axes((.05 + .215*k, .2, .19, .362))
        columns = relation_matrices(torch.tensor([z]), 5)[0].softmax(0)
        ax.imshow(columns, cmap='Blues' if k == 0 else 'Greens', vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], title=f'{name}: relations')
        ax.spines[:].set_visible(False)
    ax = fig.add_axes((.66, .2, .3, .362))
    tables = [summary(read_rows(nbs/'results'/'study'/o)) for o in pairs.values()]
    styles = dict(scratch=('from scratch', soft), kd=('KD', blue), mldr=('MLDR-KD', orange))
    for k, (method, (label, color)) in enumerate(styles.items()):
        mean, ci = (np.array([o.loc[method, c] for o in tables]) for c in ('mean', 'ci'))
        ax.errorbar(mean, np.arange(4) + .2*(k - 1), xerr=ci, fmt='os^'[k], color=color, ms=8,
                    lw=2, label=label)
    ax.set_yticks(range(4), [o.replace(' to ', '\nto ') for o in pairs], fontsize=12)
    ax.invert_yaxis()
    ax.set_xlabel('CIFAR-100 with 10 labels per class: top-1 (%)', fontsize=13)
    ax.tick_params('x', labelsize=13)
    ax.spines[['top', 'right']].set_visible(False)
    ax.legend(ncols=3, loc='lower right', bbox_to_anchor=(1.06, 1), frameon=False, fontsize=12,
              handletextpad=.1, columnspacing=.8)
    fig.text(.05, .06, 'CNN, Transformer, MLP, Vision Mamba: any pair, with timm and fastai', fontsize=18,
             color=soft)
    return fig

if __name__ == '__main__': picture().savefig(nbs/'preview.png', metadata={'Software': None})
