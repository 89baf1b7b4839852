"""Small specs of constructs rare in random ones: loops, branches and generated lines."""

from __future__ import annotations

RARE_LOOPS: dict[str, str] = {
    "instances in loops": """
use deep from deep
use leaky from linear
model m(n = 3):
    input x: real[n]
    z_0 = x
    for l in 1..3:
        operator ⊕_l = deep(layers = l, shortcut = l % 2, width = l + 1)
        operator ⊗_{l} = leaky(rate = 1 / (l + 1), act = sin)
        state h_l, g_l: real[n]
        h_l' = z_{l-1} ⊕_l h_l
        g_l' = z_{l-1} ⊗_l g_l
        z_l = h_l' - g_l'
    x' = z_3
""",
    "nested loops": """
model m(a = 2, b = 3):
    input x: real[2]
    output y: real[2]
    s_0_0 = x
    for i in 1..a:
        s_i_0 = s_{i-1}_{0} * i
        for j in 1..b:
            if i == j or j > 2:
                param W_i_j: blocks(2)
                s_i_j: real[2] = W_i_j s_i_{j-1}
            else:
                operator f_i_j(x) = j * (W_i x) - i
                s_i_j: real[2] = f_i_j(s_i_{j-1})
    y = s_{a}_{b}
""",
    "loops in bodies": """
operator f(x: real[m], n = 3, last = 0):
    for i in 1..n:
        param g_i: vector, constant(1)
        for j in 1..i:
            if j == 1:
                c_i_j = V_i_j x
            else:
                c_i_j = c_i_{j-1} + j * (V_i_j x) ⊙ g_i
        if i < n:
            d_i: real[m] = c_i_{i}
        else:
            d_i: real[m] = -c_i_{i}
    e_0 = 0
    for i in 1..n:
        e_i = e_{i-1} + d_i
    e_{n - last}
operator ◁₁ = f(n = 2)
operator ◁₂ = f(last = 1)
input x: real[2]
output y: real[2]
y = ◁₁ x + ◁₂ ◁₁ x
""",
    "operators of laws": """
model m(n = 2):
    input x: real[n]
    for l in 1..2:
        state h_l: real[n]
        operator x ⊕_l h = tanh(l * (W h) + U x)
        h_l' = x ⊕_l h_l
        law x ⊕_l h_l ≈ l * h_{l} weight 0.1 * l
        loss dot(h_l, h_l') weight l
    x' = h_1' + h_2'
""",
    "branches of sizes": """
model m(n = 4, kind = 2, act = 1):
    input x: real[n]
    if kind == 1:
        state h: real[n]
        h' = x
    else:
        if not kind == 2 or n < 4:
            state h: real
            h' = 1
        else:
            state h: real[n / 2]
            (a, h') = split(W x, 1, n // 2)
    output y: real[3]
    y = [a ; h]
""",
    "two outputs of one value": """
input x: real[2]
state h: real[2]
output y, z: real[2]
output w: real[2] at end
h' = x ⊕ h
y = h'
z = h'
w = h'
x' = h'
""",
    "same law twice": """
input x: real[2]
state h: real[2]
h' = x ⊕ h
x' = h'
law x ⊕ h ≈ h
law x ⊕ h ≈ h weight 2
loss sum(h')
loss sum(h')
loss sum(h) weight 3
""",
}
